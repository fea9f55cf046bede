"""The int8 side of a package: its ranges, its int8 ONNX model, and whether they are what they should be."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core.fake_quantization import apply_ranges
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.architecture import bare_model
from sparsezoo_hub.packaging.int8_layers import check_int8_layers, read_int8_layers
from sparsezoo_hub.packaging.int8_parity import check_onnx_int8
from sparsezoo_hub.packaging.manifest import QuantizationEntry
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.packaging.quantization_file import FoundRanges, read_ranges, write_ranges
from sparsezoo_hub.packaging.weights_file import read_tensors, stored_names


def write_int8(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    found: FoundRanges,
) -> QuantizationEntry:
    """Write the ranges and the int8 ONNX model, and return what the manifest says of them.

    Args:
        folder: a package with its float ONNX model.
        model: of the package.
        tokenizer: the model's own.
        texts: real inputs to compare on, at least two of different lengths.
        found: the ranges.

    Raises:
        PackageError: if a layer has no product in the ONNX model, or ONNX Runtime differs from PyTorch.
        QuantizationError: if the ranges are those of another model.
    """
    write_ranges(folder / layout.QUANTIZATION, found)
    write_onnx_int8(model, found.ranges, folder / layout.ONNX_FOLDER, folder / layout.ONNX_INT8_FOLDER)
    parity = check_onnx_int8(model, found.ranges, tokenizer, texts, folder / layout.ONNX_INT8_MODEL)
    return QuantizationEntry(
        method=found.method,
        per_channel=found.per_channel,
        num_layers=len(found.ranges),
        mean_difference=parity.mean_difference,
        max_difference=parity.max_difference,
        rounding=parity.rounding,
        num_texts=parity.num_texts,
    )


def check_ranges(folder: Path, entry: QuantizationEntry) -> str:
    """Return in words what the ranges of a package are.

    Args:
        folder: a package.
        entry: of its manifest.

    Raises:
        PackageError: if the file cannot be read, or is not what the manifest says.
        QuantizationError: if the ranges are broken, or those of another model.
    """
    found = read_ranges(folder / layout.QUANTIZATION)
    got = (found.method, found.per_channel, len(found.ranges))
    promised = (entry.method, entry.per_channel, entry.num_layers)
    if got != promised:
        raise PackageError(
            f"{layout.QUANTIZATION}: method, per_channel and number of layers are {got}, the manifest says "
            f"{promised}; package the model again"
        )
    apply_ranges(bare_model(folder), found.ranges)
    scales = "one scale per output feature" if found.per_channel else "one scale per weight"
    return f"{len(found.ranges)} layers, {found.method}, {scales}"


def check_int8(folder: Path, masks: Mapping[str, Tensor]) -> str:
    """Return in words what the int8 ONNX model of a package holds, without running it.

    Args:
        folder: a package.
        masks: of the package, bool, True = kept.

    Raises:
        PackageError: if it does not hold the package's weights, rounded by the package's ranges, with a 0
            wherever a weight is pruned.
        QuantizationError: if the ranges are broken.
    """
    ranges = read_ranges(folder / layout.QUANTIZATION).ranges
    layers = read_int8_layers(folder / layout.ONNX_INT8_MODEL)
    path = folder / layout.WEIGHTS
    components = {name: component for component, name in stored_names(path, ranges).items()}
    tensors = read_tensors(path, components.__contains__)
    return check_int8_layers(layers, ranges, {components[name]: each for name, each in tensors}, masks)
