"""``sparsezoo-hub tag``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Revision, Token


def tag(
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    name: Annotated[str, typer.Argument(help="The tag, v1 for example.")],
    revision: Revision = None,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Give a commit a lasting name."""
    from dataclasses import asdict

    from sparsezoo_hub.hub.tags import tag_revision

    tagged = tag_revision(repo_id, name, revision=revision, endpoint=endpoint, token=token)
    if as_json:
        print_json(asdict(tagged))
    else:
        say(f"{repo_id}: {name} is{'' if tagged.is_new else ' already'} commit {tagged.commit[:12]}")
