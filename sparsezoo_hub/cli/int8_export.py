"""The export of a model in int8, by the ranges that it has, or by ranges that are calibrated."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from sparsezoo_hub.cli.stored_model import load_stored_model, stored_ranges
from sparsezoo_hub.core.quantization_names import CALIBRATED, Method
from sparsezoo_hub.errors import QuantizationError, write_errors
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.int8_parity import Int8Parity, check_onnx_int8
from sparsezoo_hub.packaging.layout import ONNX_INT8_MODEL
from sparsezoo_hub.packaging.onnx_export import Inputs, export_onnx, tokenized_batches
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.packaging.quantization_file import FoundRanges


def export_int8(
    stored: Path, texts: Sequence[str], folder: Path, *, per_channel: bool
) -> tuple[Method, Int8Parity]:
    """Write a model as int8 ONNX, and return how its ranges were found and how close it is to PyTorch.

    Args:
        stored: model and tokenizer, with a file of ranges or without.
        texts: real inputs, to compare on, and to calibrate on where there are no ranges.
        folder: is created.
        per_channel: whether a calibration finds a range for each output feature of a weight.

    Raises:
        BackboneError: if there is no model.
        PackageError: if it cannot be exported, or ONNX Runtime differs from PyTorch.
        QuantizationError: if the ranges do not fit the model, or are not ``per_channel`` but should be.
    """
    model, tokenizer = load_stored_model(stored)
    found = found_ranges(stored, model, tokenized_batches(model, tokenizer, texts), per_channel=per_channel)
    with tempfile.TemporaryDirectory() as aside, write_errors(folder):
        exported = Path(aside) / "float"
        export_onnx(model, tokenizer, texts, exported)
        write_onnx_int8(model, found.ranges, exported, folder)
    parity = check_onnx_int8(model, found.ranges, tokenizer, texts, folder / Path(ONNX_INT8_MODEL).name)
    return found.method, parity


def found_ranges(
    stored: Path, model: PreTrainedModel, batches: Sequence[Inputs], *, per_channel: bool
) -> FoundRanges:
    """Return the ranges that lie beside a model, or else calibrated ones.

    Args:
        stored: the model's folder.
        model: as loaded from there.
        batches: to calibrate on.
        per_channel: whether each output feature of a weight is to have a range of its own.

    Raises:
        PackageError: if the file of ranges cannot be read.
        QuantizationError: if it is broken, or not ``per_channel`` but should be.
    """
    found = stored_ranges(stored)
    if found is None:
        return FoundRanges(calibrate(model, batches, per_channel=per_channel), CALIBRATED)
    if per_channel and not found.per_channel:
        raise QuantizationError(
            f"{stored} has one range for each weight, from {found.method}: leave --per-channel out"
        )
    return found
