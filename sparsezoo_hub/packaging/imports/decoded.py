"""A decoded checkpoint: plain weights and explicit masks, whatever format they came in."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsezoo_hub.errors import PackageError


@dataclass(frozen=True)
class Decoded:
    """What a format's file makes of a checkpoint.

    Args:
        tensors: by the name that transformers gives them, zeros in place.
        masks: bool, True = kept, by the name of their tensor; empty where the format has none.
        left_out: names of tensors that are known and not needed.
    """

    tensors: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    left_out: tuple[str, ...] = ()


def bool_mask(name: str, mask: Tensor, shape: torch.Size) -> Tensor:
    """Return a stored mask as bool, True = kept.

    Args:
        name: of the mask, for messages.
        mask: of any type, every value 0 or 1.
        shape: of its weight.

    Raises:
        PackageError: if the shape is another, or a value is neither 0 nor 1.
    """
    if mask.shape != shape:
        raise PackageError(
            f"{name} has shape {tuple(mask.shape)}, its weight has {tuple(shape)}: the mask belongs to "
            "another weight; fetch the checkpoint again"
        )
    wrong = mask[(mask != 0) & (mask != 1)]
    if wrong.numel():
        raise PackageError(
            f"{name} must have 0 and 1 only, got {wrong[0].item()}: this is no mask; fetch the checkpoint "
            "again"
        )
    return mask != 0
