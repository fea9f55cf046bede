"""``sparsezoo-hub verify``."""

import typer

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Json, ModelReference, Revision, Token


def verify(
    model: ModelReference, revision: Revision = None, token: Token = None, as_json: Json = False
) -> None:
    """Check that a package is what it promises: hashes, zeros, digest, recipe, card, ONNX, int8."""
    from dataclasses import asdict

    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.verify import verify_package

    checks = verify_package(local_folder(model, revision=revision, token=token), onnx=True)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            say(f"{'[green]ok[/]    ' if check.ok else '[red]failed[/]'} {check.name}: {check.detail}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
