"""The export of a model for the sparse engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.cli.int8_export import found_ranges
from sparsezoo_hub.cli.stored_model import load_stored_model
from sparsezoo_hub.core.quantization_names import Method
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.added_files import list_added
from sparsezoo_hub.packaging.float_parity import FloatParity
from sparsezoo_hub.packaging.int8_parity import Int8Parity
from sparsezoo_hub.packaging.layout import MANIFEST, SPARSE_FOLDER, SPARSE_MODEL
from sparsezoo_hub.packaging.onnx_export import tokenized_batches
from sparsezoo_hub.packaging.placement import placed
from sparsezoo_hub.runtime import SparseModel
from sparsezoo_hub.runtime.packed_parity import check_sparse, check_sparse_int8

_FLOAT_BYTES = 4
_TOKENIZER = "tokenizer_config.json"


@dataclass(frozen=True)
class SparseExport:
    """A sparse export.

    Args:
        method: how its int8 ranges were found; None if it is in floats.
        parity: how close it is to PyTorch.
        size: bytes of the packed file.
        dense_size: bytes of all the model's weights as float32.
    """

    method: Method | None
    parity: FloatParity | Int8Parity
    size: int
    dense_size: int


def export_sparse(
    stored: Path, texts: Sequence[str], folder: Path, *, int8: bool, bf16: bool, per_channel: bool
) -> SparseExport:
    """Write a model for the sparse engine, as it is loaded again compared with PyTorch.

    The tokenizer goes with it, unless the folder is put beside one. In the package itself it is listed in the
    manifest.

    Args:
        stored: model and tokenizer, with a file of ranges or without.
        texts: real inputs to compare on, and to calibrate on where there are no ranges.
        folder: is created, whole or not at all.
        int8: whether to compute in int8.
        bf16: whether to compute in bfloat16, if not in int8.
        per_channel: whether a calibration finds a range for each output feature of a weight.

    Raises:
        BackboneError: if there is no model, or the engine does not compute it.
        PackageError: if the sparse model differs from PyTorch, or the folder is in another package.
        QuantizationError: if the ranges do not fit the model, or are not ``per_channel`` but should be.
    """
    package = _package_of(stored, folder)
    model, tokenizer = load_stored_model(stored)
    model.train(False)
    batches = tokenized_batches(model, tokenizer, texts)
    found = found_ranges(stored, model, batches, per_channel=per_channel) if int8 else None
    with placed(folder) as staging:
        ranges, dtype = found.ranges if found else None, torch.bfloat16 if bf16 else None
        SparseModel.from_model(model, ranges, dtype=dtype).save_pretrained(staging)
        _save_tokenizer(tokenizer, folder, staging)
        sparse = SparseModel.from_pretrained(staging)
        parity = (
            check_sparse_int8(model, found.ranges, sparse, batches, len(texts))
            if found
            else check_sparse(model, sparse, batches, len(texts), is_rounded=bf16)
        )
    if package is not None:
        list_added(package, SPARSE_FOLDER)
    return SparseExport(
        method=found.method if found else None,
        parity=parity,
        size=(folder / Path(SPARSE_MODEL).name).stat().st_size,
        dense_size=_FLOAT_BYTES * model.num_parameters(),
    )


def _package_of(stored: Path, folder: Path) -> Path | None:
    """Return the package that gets the folder, if it is one."""
    parent = folder.resolve().parent
    if not (parent / MANIFEST).is_file():
        return None
    if folder.name != SPARSE_FOLDER or stored.resolve() != parent:
        raise PackageError(
            f"{parent} is a package, and its manifest lists every file in it: export it to "
            f"{parent / SPARSE_FOLDER} itself, or choose a folder elsewhere"
        )
    return parent


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, staging: Path) -> None:
    if not (folder.resolve().parent / _TOKENIZER).exists():
        tokenizer.save_pretrained(staging)
