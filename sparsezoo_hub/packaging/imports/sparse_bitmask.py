"""``sparse-bitmask`` and ``sparse-24-bitmask`` checkpoints of compressed-tensors up to 0.14.

A weight of shape (rows, columns) is stored as four tensors: ``shape``; ``bitmask`` of uint8 and shape (rows,
ceil(columns / 8)), lowest bit first, 1 where a value is stored; ``compressed``, these values row by row;
``row_offsets``, where each row's values begin. The 2:4 form stores two of every four values, zeros among
them, as (rows, columns / 2), and has no row offsets.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.imports.checkpoint import Checkpoint
from sparsezoo_hub.packaging.imports.decoded import Decoded

_VALUES, _BITS, _SHAPE, _OFFSETS = ".compressed", ".bitmask", ".shape", ".row_offsets"
_DIMENSIONS = 2
_REMEDY = "the checkpoint is broken, fetch it again"


def is_sparse_bitmask(checkpoint: Checkpoint) -> bool:
    """Return whether a weight is stored as a bit mask and values."""
    return any(name.endswith(_BITS) for name in checkpoint.tensors)


def decode_sparse_bitmask(checkpoint: Checkpoint) -> Decoded:
    """Return the weights as they were compressed; the zeros are their masks.

    Raises:
        PackageError: if a part of a weight is missing, or the parts do not fit each other.
    """
    tensors = dict(checkpoint.tensors)
    for name in [name for name in checkpoint.tensors if name.endswith(_BITS)]:
        layer = name.removesuffix(_BITS)
        parts = {part: tensors.pop(layer + part, None) for part in (_VALUES, _BITS, _SHAPE)}
        missing = [layer + part for part, tensor in parts.items() if tensor is None]
        if missing:
            raise PackageError(f"{name} has no {' and no '.join(missing)} beside it: {_REMEDY}")
        offsets = tensors.pop(layer + _OFFSETS, None)
        # Early releases named the parts after the weight, later ones after its layer.
        weight = layer if layer.endswith(".weight") else f"{layer}.weight"
        if weight in tensors:
            raise PackageError(f"{weight} is there twice, by itself and compressed: keep one of them")
        tensors[weight] = _expanded(
            layer, {part: each for part, each in parts.items() if each is not None}, offsets
        )
    return Decoded(tensors, {})


def _expanded(layer: str, parts: Mapping[str, Tensor], offsets: Tensor | None) -> Tensor:
    values, bits = parts[_VALUES], parts[_BITS]
    rows, columns = _dimensions(layer, parts[_SHAPE])
    # A claimed shape allocates nothing before it fits the bytes that are there.
    if bits.dtype != torch.uint8 or tuple(bits.shape) != (rows, math.ceil(columns / 8)):
        raise PackageError(
            f"{layer}{_BITS} must be uint8 of shape {(rows, math.ceil(columns / 8))}, got {bits.dtype} of "
            f"{tuple(bits.shape)}: {_REMEDY}"
        )
    unpacked = np.unpackbits(bits.numpy(), axis=1, bitorder="little")
    if unpacked[:, columns:].any():
        raise PackageError(f"{layer}{_BITS} has bits set after its last column: {_REMEDY}")
    mask = torch.from_numpy(unpacked[:, :columns].astype(bool))
    if int(mask.sum()) != values.numel():
        raise PackageError(
            f"{layer}{_VALUES} has {values.numel()} values, {layer}{_BITS} has {int(mask.sum())} bits: "
            f"{_REMEDY}"
        )
    if values.ndim == 1:
        _check_rows(layer, values, mask, offsets)
    weight = torch.zeros(rows, columns, dtype=values.dtype)
    weight[mask] = values.flatten()
    return weight


def _dimensions(layer: str, shape: Tensor) -> tuple[int, int]:
    sizes = shape.flatten().tolist()
    if shape.is_floating_point() or len(sizes) != _DIMENSIONS or min(sizes) < 1:
        raise PackageError(f"{layer}{_SHAPE} must be two whole numbers above 0, got {sizes}: {_REMEDY}")
    return sizes[0], sizes[1]


def _check_rows(layer: str, values: Tensor, mask: Tensor, offsets: Tensor | None) -> None:
    counts = mask.sum(1)
    expected = counts.cumsum(0) - counts
    if offsets is None or offsets.shape != expected.shape or not torch.equal(offsets.long(), expected):
        raise PackageError(f"{layer}{_OFFSETS} are not where the rows of {layer}{_BITS} begin: {_REMEDY}")
    zeros = int((values == 0).sum())
    if zeros:
        raise PackageError(
            f"{layer}{_VALUES} has {zeros} zeros, but {layer}{_BITS} has no bit for a weight that is 0: "
            f"{_REMEDY}"
        )
