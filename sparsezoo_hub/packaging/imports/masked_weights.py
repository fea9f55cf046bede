"""Masked weights: stored as what they were before pruning, with a mask beside them.

torch and IntelLabs keep ``NAME_orig`` or ``NAME_original`` with ``NAME_mask`` and multiply them before every
step forward. So an original under a 0 of its mask may be anything; the weight is 0 there.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.imports.decoded import Decoded, bool_mask

_MASK = "_mask"


def has_masked_weights(names: Mapping[str, Tensor], original: str) -> bool:
    """Return whether a weight is stored as ``NAME`` + ``original`` with a mask."""
    return any(name.endswith(original) and name.removesuffix(original) + _MASK in names for name in names)


def masked_weights(tensors: Mapping[str, Tensor], original: str) -> Decoded:
    """Return the weights multiplied by their masks, and the masks.

    Args:
        tensors: of the checkpoint.
        original: the ending of a stored weight, ``_orig`` or ``_original``.

    Raises:
        PackageError: if a mask or an original has no counterpart, the weight itself is there too, or a mask
            does not fit.
    """
    weights = dict(tensors)
    masks = {}
    for name in [name for name in tensors if name.endswith(original)]:
        plain = name.removesuffix(original)
        if plain + _MASK not in weights:
            raise PackageError(
                f"{name} has no {plain}{_MASK} beside it: the checkpoint is incomplete, fetch it again"
            )
        if plain in weights:
            raise PackageError(f"{plain} is there twice, by itself and as {name}: keep one of them")
        stored, mask = weights.pop(name), weights.pop(plain + _MASK)
        masks[plain] = bool_mask(plain + _MASK, mask, stored.shape)
        # Not multiplied: a negative weight times 0 is -0.0.
        weights[plain] = torch.where(masks[plain], stored, torch.zeros_like(stored))
    return Decoded(weights, masks)
