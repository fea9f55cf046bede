"""``sparsezoo-hub pull``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Revision, Token


def pull(
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    folder: Annotated[Path, typer.Argument(help="Where the package goes; must not exist yet.")],
    revision: Revision = None,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Download a package and verify it."""
    from sparsezoo_hub.hub.pull import pull_package

    manifest = pull_package(repo_id, folder, endpoint=endpoint, token=token, revision=revision)
    if as_json:
        print_json({"folder": str(folder), "manifest": manifest.model_dump(mode="json")})
    else:
        say(
            f"pulled {repo_id} to {folder}: {len(manifest.files)} files verified, "
            + ("dense" if manifest.is_dense else f"sparsity {manifest.sparsity.overall:.4f}")
        )
