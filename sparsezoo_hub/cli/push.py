"""``sparsezoo-hub push``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Token


def push(  # noqa: PLR0913, PLR0917 - the options of the command line
    folder: Annotated[Path, typer.Argument(help="A package.")],
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch to push to; made from main if it is not there.")
    ] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of changing main.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Name the commit so, v1 for example; repeat for more.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Publish what fails verification or promises less than what is there."),
    ] = False,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Verify a package and publish it as one commit, with its compact form."""
    from dataclasses import asdict

    from sparsezoo_hub.hub.push import push_package

    pushed = push_package(
        folder,
        repo_id,
        endpoint=endpoint,
        token=token,
        revision=revision,
        private=private,
        commit_message=message,
        create_pr=create_pr,
        tags=tag or (),
        force=force,
    )
    if as_json:
        print_json(asdict(pushed))
    elif pushed.pull_request:
        say(f"proposed {folder} to {pushed.url} as {pushed.pull_request}")
    else:
        named = f", tagged {', '.join(pushed.tags)}" if pushed.tags else ""
        say(f"published {folder} as {pushed.url} (commit {pushed.commit[:12]} of {pushed.revision}{named})")
