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
    int8: Annotated[
        bool, typer.Option("--int8", help="In int8, by the package's learned ranges, or calibrated on text.")
    ] = False,
    per_channel: Annotated[
        bool, typer.Option("--per-channel", help="Calibrate a range for each output feature of a weight.")
    ] = False,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Write a model as ONNX, in floats or in int8, and compare it with PyTorch on real text."""
    from dataclasses import asdict

    from sparsezoo_hub.cli.int8_export import export_int8
    from sparsezoo_hub.cli.stored_model import load_stored_model, sample_texts
    from sparsezoo_hub.errors import PackageError
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.onnx_export import export_onnx

    if per_channel and not int8:
        raise typer.BadParameter("--per-channel is for --int8", param_hint="--per-channel")
    if folder.exists():
        raise PackageError(f"{folder} exists: choose another folder, or delete it")
    stored = local_folder(model, revision=revision, token=token)
    quiet_loading()
    if int8:
        method, compared = export_int8(stored, sample_texts(text), folder, per_channel=per_channel)
        if as_json:
            print_json({"method": method, **asdict(compared)})
            return
        say(
            f"exported to {folder} by {method}: mean difference to PyTorch's int8 "
            f"{compared.mean_difference:.2e}, of int8 to floats {compared.rounding:.2e} standard deviations "
            f"of the outputs over {compared.num_texts} texts"
        )
        return
    loaded, tokenizer = load_stored_model(stored)
    parity = export_onnx(loaded, tokenizer, sample_texts(text), folder)
    if as_json:
        print_json(asdict(parity))
    else:
        say(
            f"exported to {folder}: max abs difference to PyTorch {parity.max_abs_diff:.2e} "
            f"over {parity.num_texts} texts"
        )
