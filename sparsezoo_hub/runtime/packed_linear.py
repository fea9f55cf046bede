"""Packed linear layers: a weight's nonzeros in the order in which the kernels read them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.packed_bfloat import BFLOAT16, PackedBfloat
from sparsezoo_hub.runtime.packed_int8 import INT8, PackedInt8
from sparsezoo_hub.runtime.row_blocks import (
    cut,
    form_problem,
    is_mostly_full,
    row_starts,
    rows_problem,
    size_problem,
    unpacked,
)
from sparsezoo_hub.runtime.stored_linear import StoredLinear

# Input features to a block. Their activations are more than a 32 KiB first-level cache holds: fewer were
# measured slower, for in every block a row's sums are loaded and stored, and its end is guessed wrong.
BLOCK = 192
# The kinds of layers, as stored; others are those of packed_bfloat and packed_int8.
FLOAT = "float"
PARTS = "parts"


@dataclass(frozen=True)
class PackedLinear(StoredLinear):
    """A linear layer, sparse or dense.

    Args:
        num_inputs: input features.
        block: input features to a block; 0 if the layer is dense.
        starts: (num_blocks, num_outputs + 1) int32, where the rows of each block begin in ``inputs`` and
            ``values``; (0, 0) if the layer is dense.
        inputs: (num_nonzeros,) uint16, input features within their block; (0,) if the layer is dense.
        values: (num_nonzeros,) float32; (num_outputs, num_inputs) if the layer is dense.
        bias: (num_outputs,) float32.
    """

    KIND: ClassVar = FLOAT
    TENSORS: ClassVar = ("starts", "inputs", "values", "bias")
    NUMBERS: ClassVar = ("num_inputs", "block")

    num_inputs: int
    block: int
    starts: Tensor
    inputs: Tensor
    values: Tensor
    bias: Tensor

    def structure(self) -> engine.Linear:
        """Return what the kernels read; it points into these tensors."""
        return engine.Linear(
            num_outputs=self.num_outputs,
            num_inputs=self.num_inputs,
            block=self.block,
            starts=self.starts.data_ptr() if self.block else None,
            inputs=self.inputs.data_ptr() if self.block else None,
            values=self.values.data_ptr(),
            bias=self.bias.data_ptr(),
        )

    def multiply(self, inputs: Tensor) -> Tensor:
        """Return (num_tokens, num_outputs), what the kernels make of (num_tokens, num_inputs), in torch."""
        return F.linear(inputs, self.weight(), self.bias)

    def weight(self) -> Tensor:
        """Return the dense weight, (num_outputs, num_inputs)."""
        if not self.block:
            return self.values
        return unpacked(self.starts, self.inputs, self.values, self.num_inputs, self.block)

    @functools.cached_property
    def problem(self) -> str | None:
        """What is wrong with the layer, if anything is."""
        forms = {
            "starts": (torch.int32, 2),
            "inputs": (torch.uint16, 1),
            "values": (torch.float32, 1 if self.block else 2),
            "bias": (torch.float32, 1),
        }
        problem = size_problem(self.num_inputs, self.block) or form_problem(self.tensors(), forms)
        if problem:
            return problem
        if not self.block:
            fits = self.values.shape == (self.num_outputs, self.num_inputs)
            return None if fits else f"the dense weight has the shape {tuple(self.values.shape)}"
        if len(self.inputs) != len(self.values):
            return f"there are {len(self.values)} values and {len(self.inputs)} inputs"
        return rows_problem(self.starts, self.inputs, self.num_inputs, self.num_outputs, self.block)


@dataclass(frozen=True)
class PackedParts:
    """Several linear layers of the same inputs, whose outputs lie one after the other.

    Args:
        parts: at least one.
    """

    parts: tuple[PackedLinear | PackedBfloat | PackedInt8, ...]

    @property
    def num_inputs(self) -> int:
        """Input features."""
        return self.parts[0].num_inputs

    @property
    def num_outputs(self) -> int:
        """Output features of all parts."""
        return sum(part.num_outputs for part in self.parts)

    def multiply(self, inputs: Tensor) -> Tensor:
        """Return (num_tokens, num_outputs), what the kernels make of (num_tokens, num_inputs), in torch."""
        return torch.cat([part.multiply(inputs) for part in self.parts], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is stored."""
        return {
            f"part{index}_{name}": tensor
            for index, part in enumerate(self.parts)
            for name, tensor in part.tensors().items()
        }

    def numbers(self) -> dict[str, int | float | str]:
        """Return what is stored beside the tensors."""
        numbers: dict[str, int | float | str] = {"kind": PARTS}
        for index, part in enumerate(self.parts):
            numbers.update({f"part{index}_{name}": number for name, number in part.numbers().items()})
        return numbers

    def check(self, where: str) -> None:
        """Refuse parts that the kernels cannot be trusted with.

        Raises:
            PackageError: names ``where`` and what is wrong.
        """
        for index, part in enumerate(self.parts):
            part.check(f"{where}, part {index}")
            if part.num_inputs != self.num_inputs:
                raise PackageError(
                    f"{where}, part {index}: has {part.num_inputs} inputs, part 0 has {self.num_inputs}; "
                    "export the model again"
                )


AnyLinear = PackedLinear | PackedBfloat | PackedInt8 | PackedParts


def pack_linear(weight: Tensor, bias: Tensor, block: int = BLOCK) -> PackedLinear:
    """Return a linear layer as the kernels read it.

    Args:
        weight: (num_outputs, num_inputs) of any float dtype; zeros are left out if it has enough of them.
        bias: (num_outputs,).
        block: input features to a block, below 2^15.
    """
    weight, bias = own(weight), own(bias)
    num_outputs, num_inputs = weight.shape
    empty: dict[str, Any] = {
        "starts": torch.zeros(0, 0, dtype=torch.int32),
        "inputs": torch.zeros(0).to(torch.uint16),
    }
    if is_mostly_full(weight, weight.numel()):
        return PackedLinear(num_inputs, 0, **empty, values=weight, bias=bias)
    blocks = cut(weight, block)
    rows, inputs = blocks.nonzero(as_tuple=True)
    return PackedLinear(
        num_inputs,
        block,
        row_starts((blocks != 0).sum(dim=1), num_outputs),
        inputs.to(torch.uint16),
        blocks[rows, inputs].contiguous(),
        bias,
    )


def own(tensor: Tensor) -> Tensor:
    """Return a copy in float32, which stays as it is whatever becomes of the model."""
    return tensor.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)


def linear_from(
    tensors: Mapping[str, Tensor], numbers: Mapping[str, int | float | str], where: str
) -> AnyLinear:
    """Return the linear layer whose ``tensors()`` and ``numbers()`` these are.

    Raises:
        PackageError: names ``where`` and what is wrong with them.
    """
    if numbers.get("kind") != PARTS:
        linear: AnyLinear = _one_from(tensors, numbers, where)
        linear.check(where)
        return linear
    tensors_of = _by_part(tensors)
    numbers_of = _by_part({name: number for name, number in numbers.items() if name != "kind"})
    names = [f"part{index}" for index in range(len(tensors_of))]
    if not names or set(names) != set(tensors_of) or set(names) != set(numbers_of):
        raise PackageError(
            f"{where}: has tensors of {sorted(tensors_of)} and numbers of {sorted(numbers_of)}, parts are "
            "counted from 0 on; export the model again"
        )
    parts = (_one_from(tensors_of[name], numbers_of[name], f"{where}, {name}") for name in names)
    linear = PackedParts(tuple(parts))
    linear.check(where)
    return linear


def _one_from(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], where: str) -> Any:
    kind = numbers.get("kind")
    made: Any = _KINDS.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise PackageError(
            f"{where}: is of the kind {kind!r:.40}, known are {', '.join(_KINDS)}; export the model again"
        )
    values = {name: number for name, number in numbers.items() if name != "kind"}
    wrong = sorted((set(tensors) ^ set(made.TENSORS)) | (set(values) ^ set(made.NUMBERS)))
    if wrong:
        raise PackageError(
            f"{where}: a layer of the kind {kind} has the tensors {', '.join(made.TENSORS)} and the numbers "
            f"{', '.join(made.NUMBERS)}; missing or unknown: {', '.join(wrong[:3])}; export the model again"
        )
    return made(**tensors, **values)


def _by_part(named: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    parts: dict[str, dict[str, Any]] = {}
    for name, value in named.items():
        part, _, rest = name.partition("_")
        parts.setdefault(part, {})[rest] = value
    return parts


_KINDS: Mapping[str, type[PackedLinear] | type[PackedBfloat] | type[PackedInt8]] = {
    FLOAT: PackedLinear,
    BFLOAT16: PackedBfloat,
    INT8: PackedInt8,
}
