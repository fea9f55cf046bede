"""``sparsezoo-hub export``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import Json, ModelReference, Revision, TextFiles, Token


def export(
    model: ModelReference,
    folder: Annotated[Path, typer.Argument(help="Where the ONNX files go; must not exist yet.")],
    text: TextFiles = None,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Write a model as ONNX and compare it with PyTorch on real text."""
    from dataclasses import asdict

    from sparsezoo_hub.cli.stored_model import load_stored_model, sample_texts
    from sparsezoo_hub.errors import PackageError
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.onnx_export import export_onnx

    if folder.exists():
        raise PackageError(f"{folder} exists: choose another folder, or delete it")
    stored = local_folder(model, revision=revision, token=token)
    quiet_loading()
    loaded, tokenizer = load_stored_model(stored)
    parity = export_onnx(loaded, tokenizer, sample_texts(text), folder)
    if as_json:
        print_json(asdict(parity))
    else:
        say(
            f"exported to {folder}: max abs difference to PyTorch {parity.max_abs_diff:.2e} "
            f"over {parity.num_texts} texts"
        )
