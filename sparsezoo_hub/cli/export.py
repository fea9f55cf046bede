"""``sparsezoo-hub export``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import Json, ModelReference, Revision, TextFiles, Token


class ExportFormat(StrEnum):
    """What a model can be exported as."""

    ONNX = "onnx"
    SPARSE = "sparse"


def export(  # noqa: PLR0913 - one option for each thing that can be chosen
    model: ModelReference,
    folder: Annotated[Path, typer.Argument(help="Where the files go; must not exist yet.")],
    text: TextFiles = None,
    export_format: Annotated[
        ExportFormat,
        typer.Option("--format", help="For ONNX Runtime, or packed for the sparse engine of this package."),
    ] = ExportFormat.ONNX,
    int8: Annotated[
        bool, typer.Option("--int8", help="In int8, by the package's learned ranges, or calibrated on text.")
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="For the sparse engine: the encoder in bfloat16.")
    ] = False,
    per_channel: Annotated[
        bool, typer.Option("--per-channel", help="Calibrate a range for each output feature of a weight.")
    ] = False,
    *,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Write a model for ONNX Runtime or the sparse engine, in floats or int8, and compare it with PyTorch."""
    from sparsezoo_hub.errors import PackageError
    from sparsezoo_hub.hub.snapshot import local_folder

    if per_channel and not int8:
        raise typer.BadParameter("--per-channel is for --int8", param_hint="--per-channel")
    if bf16 and (int8 or export_format is not ExportFormat.SPARSE):
        raise typer.BadParameter("--bf16 is for --format sparse without --int8", param_hint="--bf16")
    if folder.exists():
        raise PackageError(f"{folder} exists: choose another folder, or delete it")
    stored = local_folder(model, revision=revision, token=token)
    quiet_loading()
    if export_format is ExportFormat.SPARSE:
        _to_sparse(stored, text, folder, int8=int8, bf16=bf16, per_channel=per_channel, as_json=as_json)
    elif int8:
        _to_int8(stored, text, folder, per_channel=per_channel, as_json=as_json)
    else:
        _to_onnx(stored, text, folder, as_json=as_json)


def _to_onnx(stored: Path, text: list[Path] | None, folder: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from sparsezoo_hub.cli.stored_model import load_stored_model, sample_texts
    from sparsezoo_hub.packaging.onnx_export import export_onnx

    loaded, tokenizer = load_stored_model(stored)
    parity = export_onnx(loaded, tokenizer, sample_texts(text), folder)
    if as_json:
        print_json(asdict(parity))
    else:
        say(
            f"exported to {folder}: max abs difference to PyTorch {parity.max_abs_diff:.2e} "
            f"over {parity.num_texts} texts"
        )


def _to_int8(
    stored: Path, text: list[Path] | None, folder: Path, *, per_channel: bool, as_json: bool
) -> None:
    from dataclasses import asdict

    from sparsezoo_hub.cli.int8_export import export_int8
    from sparsezoo_hub.cli.stored_model import sample_texts

    method, compared = export_int8(stored, sample_texts(text), folder, per_channel=per_channel)
    if as_json:
        print_json({"method": method, **asdict(compared)})
        return
    say(
        f"exported to {folder} by {method}: mean difference to PyTorch's int8 "
        f"{compared.mean_difference:.2e}, of int8 to floats {compared.rounding:.2e} standard deviations "
        f"of the outputs over {compared.num_texts} texts"
    )


def _to_sparse(
    stored: Path,
    text: list[Path] | None,
    folder: Path,
    *,
    int8: bool,
    bf16: bool,
    per_channel: bool,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from sparsezoo_hub.cli.sparse_export import export_sparse
    from sparsezoo_hub.cli.stored_model import sample_texts
    from sparsezoo_hub.packaging.int8_parity import Int8Parity

    done = export_sparse(stored, sample_texts(text), folder, int8=int8, bf16=bf16, per_channel=per_channel)
    parity = done.parity
    if as_json:
        method = {} if done.method is None else {"method": done.method}
        print_json({**method, **asdict(parity), "size": done.size, "dense_size": done.dense_size})
        return
    close = (
        f"mean difference to PyTorch's int8 {parity.mean_difference:.2e}, of int8 to floats "
        f"{parity.rounding:.2e} standard deviations of the outputs"
        if isinstance(parity, Int8Parity)
        else f"max abs difference to PyTorch {parity.max_abs_diff:.2e}"
    )
    by = "" if done.method is None else f" by {done.method}"
    say(
        f"exported to {folder}{by}: {done.size:,} bytes, {done.size / done.dense_size:.2f} of the dense "
        f"float32 weights; {close} over {parity.num_texts} texts"
    )
