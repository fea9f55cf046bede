"""``sparsezoo-hub deprecate``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Token


def deprecate(
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    successor: Annotated[str | None, typer.Option(help="owner/name of what to use instead.")] = None,
    note: Annotated[str | None, typer.Option(help="Why, in a sentence; shown in the card as text.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the deprecation back.")] = False,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Say in a model's card that another one has taken its place."""
    from dataclasses import asdict

    from sparsezoo_hub.hub.deprecation import deprecate_repository

    if undo == (successor is not None):
        raise typer.BadParameter("give the repository to use instead, or --undo", param_hint="--successor")
    if undo and note is not None:
        raise typer.BadParameter("a note goes with --successor, not with --undo", param_hint="--note")
    done = deprecate_repository(repo_id, successor, note=note, endpoint=endpoint, token=token)
    if as_json:
        print_json(asdict(done))
        return
    state = "is not deprecated" if undo else f"is deprecated, {successor} takes its place"
    say(f"{repo_id} {state} (commit {done.commit[:12]}{'' if done.is_new else ', nothing to change'})")
