"""Masks: which weights are kept (True) and which are pruned (False)."""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sparsezoo_hub.core.thresholds import lowest
from sparsezoo_hub.errors import MaskError, SparsityError

_MAX_DIMENSIONS = 64  # of a tensor


def check_sparsity(sparsity: float) -> float:
    """Return ``sparsity`` unchanged.

    Raises:
        SparsityError: if it is outside [0, 1) or not a number.
    """
    if not 0.0 <= sparsity < 1.0:  # also refuses nan
        raise SparsityError(f"sparsity is the fraction of zeros and must lie in [0, 1), got {sparsity}")
    return sparsity


def num_zeros(numel: int, sparsity: float) -> int:
    """Return how many of ``numel`` weights are zero at ``sparsity``: ``round(numel * sparsity)``.

    The same count as ``torch.nn.utils.prune`` and SparseML.
    """
    return round(numel * check_sparsity(sparsity))


def top_k_mask(scores: Tensor, sparsity: float, kept: Tensor | None = None) -> Tensor:
    """Keep the highest scores; ties go to the lower index.

    Args:
        scores: any shape, floating point, no nan; higher is kept.
        sparsity: fraction of entries to zero, in [0, 1).
        kept: bool mask of the same shape from an earlier call. What it pruned stays pruned.

    Returns:
        Bool mask of the same shape, True = kept, with exactly ``num_zeros(numel, sparsity)`` False
        entries, or more if ``kept`` has more.

    Raises:
        SparsityError: if sparsity is outside [0, 1).
        MaskError: if scores has nan, or kept has another shape.
    """
    zeros = num_zeros(scores.numel(), sparsity)
    candidates = None
    if kept is not None:
        if kept.shape != scores.shape:
            raise MaskError(
                f"mask of shape {tuple(kept.shape)} does not fit scores of shape {tuple(scores.shape)}"
            )
        candidates = kept.flatten()
        zeros = max(0, zeros - int(torch.count_nonzero(~candidates)))
    pruned = lowest([scores.detach().flatten()], [candidates], zeros)[0]
    mask = pruned.logical_not_()
    if candidates is not None:
        mask &= candidates
    return mask.view(scores.shape)


def pack_mask(mask: Tensor) -> Tensor:
    """Return the mask's bits, row-major, eight to a byte, lowest bit first, the tail filled with 0.

    Args:
        mask: bool, any shape.

    Returns:
        uint8 tensor of shape (ceil(numel / 8),).
    """
    return torch.from_numpy(np.packbits(mask.detach().cpu().numpy().reshape(-1), bitorder="little"))


def unpack_mask(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the bool mask of ``shape`` whose bits ``pack_mask`` packed.

    Raises:
        MaskError: if the number of bytes does not fit the shape, or a bit of the tail is set.
    """
    if len(shape) > _MAX_DIMENSIONS:
        raise MaskError(f"a mask has at most {_MAX_DIMENSIONS} dimensions, got {len(shape)}")
    numel = math.prod(shape)
    size = -(-numel // 8)
    if packed.dtype != torch.uint8 or packed.shape != (size,):
        raise MaskError(
            f"a mask of shape {shape} takes {size} bytes of uint8, "
            f"got {tuple(packed.shape)} of {packed.dtype}"
        )
    bits = np.unpackbits(packed.cpu().numpy(), bitorder="little")
    if bits[numel:].any():
        raise MaskError(f"packed mask of shape {shape} has bits set after its last entry")
    return torch.from_numpy(bits[:numel].astype(bool)).view(shape)


def mask_digest(masks: Mapping[str, Tensor]) -> str:
    """Return ``sha256:…`` over names, shapes and bits, whatever the order and the device of the masks."""
    digest = hashlib.sha256()
    for name in sorted(masks):
        digest.update(f"{name}\0{tuple(masks[name].shape)}\0".encode())
        digest.update(pack_mask(masks[name]).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """Return the fraction of False entries over all masks together; 0.0 without any."""
    numel = sum(mask.numel() for mask in masks.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    return (numel - kept) / numel if numel else 0.0
