"""The quantization file: the ranges of a model's int8 layers, and how they were found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from sparsezoo_hub.core.fake_quantization import LayerRanges, ranges_tensors, tensors_ranges
from sparsezoo_hub.core.quantization_names import Method
from sparsezoo_hub.errors import PackageError, QuantizationError
from sparsezoo_hub.packaging.tensor_file import read_tensor_file

_KEY = "method"
_REMEDY = "fetch or make the file again"
_DTYPES = {"weight_scale": torch.float32, "input_scale": torch.float32, "input_zero_point": torch.int32}


@dataclass(frozen=True)
class FoundRanges:
    """Ranges, and how they were found.

    Args:
        ranges: by component name (see ``core.targets``).
        method: learned with the weights, or calibrated afterwards.
    """

    ranges: Mapping[str, LayerRanges]
    method: Method

    @property
    def per_channel(self) -> bool:
        """Whether the output features of a weight have ranges of their own."""
        return any(each.weight_scale.numel() > 1 for each in self.ranges.values())


def write_ranges(path: Path, found: FoundRanges) -> None:
    """Write ranges to ``path``, the same bytes for the same ranges in any order."""
    tensors = {name: tensor.contiguous() for name, tensor in ranges_tensors(found.ranges).items()}
    save_file(tensors, path, metadata={_KEY: found.method})


def read_ranges(path: Path) -> FoundRanges:
    """Return what ``write_ranges`` wrote.

    Raises:
        PackageError: if the file cannot be read, or says no method that is known here.
        QuantizationError: if a layer's ranges are incomplete, or no ranges.
    """
    metadata, tensors = read_tensor_file(path, "int8 ranges", _REMEDY)
    method = next((each for each in get_args(Method) if each == metadata.get(_KEY)), None)
    if method is None:
        raise PackageError(
            f"{path} is no file of int8 ranges: its {_KEY} must be {' or '.join(get_args(Method))}, got "
            f"{metadata.get(_KEY)!r:.80}; {_REMEDY}"
        )
    if not tensors:
        raise QuantizationError(f"{path} has the ranges of no layer; {_REMEDY}")
    for name, tensor in tensors.items():
        _check_form(path, name, tensor)
    try:
        return FoundRanges(tensors_ranges(tensors), method)
    except QuantizationError as error:
        raise QuantizationError(f"{path}: {error}; {_REMEDY}") from None


def _check_form(path: Path, name: str, tensor: Tensor) -> None:
    part = name.rpartition("/")[2]
    dtype = _DTYPES.get(part, tensor.dtype)  # a part that is unknown is refused with the other names
    several = part == "weight_scale" and tensor.ndim == 1 and tensor.numel() > 0
    if tensor.dtype != dtype or not (several or tensor.numel() == 1):
        values = "one value, or one per output feature" if part == "weight_scale" else "one value"
        raise QuantizationError(
            f"{path}: {name} must be {dtype} with {values}, got {tensor.dtype} of shape "
            f"{tuple(tensor.shape)}; {_REMEDY}"
        )
