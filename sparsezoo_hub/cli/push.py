"""``sparsezoo-hub push``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Token


def push(
    folder: Annotated[Path, typer.Argument(help="A package.")],
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    revision: Annotated[str | None, typer.Option(help="Branch to push to.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Verify a package and publish it as one commit."""
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
    )
    if as_json:
        print_json(asdict(pushed))
    else:
        say(f"published {folder} as {pushed.url} (commit {pushed.commit[:12]})")
