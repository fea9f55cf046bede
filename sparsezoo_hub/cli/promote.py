"""``sparsezoo-hub promote``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Token


def promote(
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    source: Annotated[str, typer.Option("--from", help="Branch, tag or commit to promote.")] = "staging",
    to: Annotated[str, typer.Option("--to", help="A branch, or a tag, made if it is not there.")] = "main",
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Verify the package at a revision, and release this very content on a branch or as a tag."""
    from dataclasses import asdict

    from sparsezoo_hub.hub.promotion import promote_package

    promoted = promote_package(repo_id, source, to, endpoint=endpoint, token=token)
    if as_json:
        print_json(asdict(promoted))
    elif promoted.is_new:
        say(
            f"{repo_id}: {to} has the files of {source} ({promoted.source[:12]}), verified, as commit "
            f"{promoted.commit[:12]}"
        )
    else:
        say(f"{repo_id}: {to} has the files of {source} ({promoted.source[:12]}) already")
