"""``sparsezoo-hub pull``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import human_bytes, print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Revision, Token


def pull(
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    folder: Annotated[Path, typer.Argument(help="Where the package goes; must not exist yet.")],
    revision: Revision = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Let kept values and mask bits travel alone; the same files are made of them.",
        ),
    ] = False,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Download a package and verify it."""
    from sparsezoo_hub.hub.pull import pull_package

    pulled = pull_package(repo_id, folder, endpoint=endpoint, token=token, revision=revision, compact=compact)
    manifest = pulled.manifest
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "commit": pulled.commit,
                "bytes_sent": pulled.num_bytes_sent,
                "bytes": pulled.num_bytes,
                "ratio": pulled.ratio,
                "manifest": manifest.model_dump(mode="json"),
            }
        )
        return
    pattern = "dense" if manifest.is_dense else f"sparsity {manifest.sparsity.overall:.4f}"
    travelled = ""
    if compact:
        travelled = (
            f", {human_bytes(pulled.num_bytes_sent)} sent for {human_bytes(pulled.num_bytes)} "
            f"({pulled.ratio:.2f} times less)"
        )
    say(f"pulled {repo_id} to {folder}: {len(manifest.files)} files verified, {pattern}{travelled}")
