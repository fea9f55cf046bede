"""Stored linear layers: what all kinds of packed layers give away, and are checked by."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from sparsezoo_hub.errors import PackageError


class StoredLinear(ABC):
    """A packed linear layer as a file has it: ``TENSORS`` and ``NUMBERS`` are its fields."""

    KIND: ClassVar[str]
    TENSORS: ClassVar[tuple[str, ...]]
    NUMBERS: ClassVar[tuple[str, ...]]

    bias: Tensor

    @property
    def num_outputs(self) -> int:
        """Output features."""
        return len(self.bias)

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is stored."""
        return {name: getattr(self, name) for name in self.TENSORS}

    def numbers(self) -> dict[str, int | float | str]:
        """Return what is stored beside the tensors."""
        return {"kind": self.KIND, **{name: getattr(self, name) for name in self.NUMBERS}}

    def check(self, where: str) -> None:
        """Refuse tensors and numbers that the kernels cannot be trusted with.

        Raises:
            PackageError: names ``where`` and what is wrong.
        """
        if self.problem:
            raise PackageError(f"{where}: {self.problem}; export the model again")

    @property
    @abstractmethod
    def problem(self) -> str | None:
        """What is wrong with the layer, if anything is."""
