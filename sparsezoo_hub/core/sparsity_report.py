"""Sparsity as measured: zeros counted in the weights themselves, never derived from a setting."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ComponentSparsity:
    """The measured zeros of one tensor."""

    name: str
    numel: int
    zeros: int

    @property
    def sparsity(self) -> float:
        """Fraction of zeros, in [0, 1]."""
        return self.zeros / self.numel if self.numel else 0.0


def measure_sparsity(tensors: Mapping[str, Tensor]) -> list[ComponentSparsity]:
    """Return the zeros of every tensor, in the order given.

    Args:
        tensors: floating point tensors by name (a state dict, or a model's named parameters).
    """
    return [
        ComponentSparsity(name, tensor.numel(), tensor.numel() - int(torch.count_nonzero(tensor)))
        for name, tensor in tensors.items()
    ]


def overall_sparsity(components: list[ComponentSparsity]) -> float:
    """Return the fraction of zeros over all components together; 0.0 without any."""
    numel = sum(component.numel for component in components)
    return sum(component.zeros for component in components) / numel if numel else 0.0
