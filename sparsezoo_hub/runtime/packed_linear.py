"""Packed linear layers: a weight's nonzeros in the order in which the kernels read them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.runtime import engine

# Input features to a block: with the 64 tokens of a panel, a block of activations fills most of a 32 KiB
# first-level cache.
BLOCK = 96
# A weight of more nonzeros than this share is multiplied as it is.
DENSEST = 0.4


@dataclass(frozen=True)
class PackedLinear:
    """A linear layer, sparse or dense.

    Args:
        num_inputs: input features.
        block: input features to a block; 0 if the layer is dense.
        starts: (num_blocks, num_outputs + 1) int32, where the rows of each block begin in the next two;
            (0, 0) if the layer is dense.
        inputs: (num_nonzeros,) uint16, input features within their block; (0,) if the layer is dense.
        values: (num_nonzeros,) float32; (num_outputs, num_inputs) if the layer is dense.
        bias: (num_outputs,) float32.
    """

    num_inputs: int
    block: int
    starts: Tensor
    inputs: Tensor
    values: Tensor
    bias: Tensor

    @property
    def num_outputs(self) -> int:
        """Output features."""
        return len(self.bias)

    def structure(self) -> engine.Linear:
        """Return what the kernels read; it points into these tensors."""
        return engine.Linear(
            self.num_outputs,
            self.num_inputs,
            self.block,
            self.starts.data_ptr() if self.block else None,
            self.inputs.data_ptr() if self.block else None,
            self.values.data_ptr(),
            self.bias.data_ptr(),
        )

    def weight(self) -> Tensor:
        """Return the dense weight, (num_outputs, num_inputs)."""
        if not self.block:
            return self.values
        num_blocks = len(self.starts)
        weight = torch.zeros(num_blocks, self.num_outputs, self.block)
        counts = (self.starts[:, 1:] - self.starts[:, :-1]).flatten()
        rows = torch.repeat_interleave(torch.arange(len(counts)), counts)
        weight.view(-1, self.block)[rows, self.inputs.long()] = self.values
        return weight.transpose(0, 1).reshape(self.num_outputs, -1)[:, : self.num_inputs]

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is stored."""
        return {name: getattr(self, name) for name in ("starts", "inputs", "values", "bias")}

    def check(self, where: str) -> None:
        """Refuse tensors that the kernels cannot be trusted with.

        Raises:
            PackageError: names ``where`` and what is wrong.
        """
        problem = self._problem()
        if problem:
            raise PackageError(f"{where}: {problem}; export the model again")

    def _problem(self) -> str | None:
        dtypes = (torch.int32, torch.uint16, torch.float32, torch.float32)
        tensors = self.tensors()
        for (name, tensor), dtype in zip(tensors.items(), dtypes, strict=True):
            if tensor.dtype != dtype:
                return f"{name} has the dtype {tensor.dtype}, not {dtype}"
        if not self.block:
            fits = self.values.shape == (self.num_outputs, self.num_inputs)
            return None if fits else f"the dense weight has the shape {tuple(self.values.shape)}"
        num_blocks = -(-self.num_inputs // self.block)
        if self.starts.shape != (num_blocks, self.num_outputs + 1):
            return f"starts has the shape {tuple(self.starts.shape)}"
        if not len(self.inputs) == len(self.values) == int(self.starts[-1, -1]) or self.starts[0, 0] != 0:
            return "starts does not end where the nonzeros do"
        if bool((self.starts.flatten().diff() < 0).any()):
            return "starts goes back"
        return self._input_problem()

    def _input_problem(self) -> str | None:
        last = self.num_inputs - self.block * (len(self.starts) - 1)  # input features of the last block
        inputs = self.inputs.view(torch.int16)  # there is no maximum of uint16; a bound below 2^15 is as good
        at = int(self.starts[-1, 0])
        for part, bound in ((inputs[:at], self.block), (inputs[at:], last)):
            if len(part) and not 0 <= int(part.min()) <= int(part.max()) < bound:
                return f"an input feature lies outside of its block of {bound}"
        return None


def own(tensor: Tensor) -> Tensor:
    """Return a copy in float32, which stays as it is whatever becomes of the model."""
    return tensor.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)


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
    if int(weight.count_nonzero()) > DENSEST * weight.numel():
        return PackedLinear(num_inputs, 0, **empty, values=weight, bias=bias)
    num_blocks = -(-num_inputs // block)
    padded = torch.nn.functional.pad(weight, (0, num_blocks * block - num_inputs))
    blocks = padded.view(num_outputs, num_blocks, block).transpose(0, 1).reshape(-1, block)
    rows, inputs = blocks.nonzero(as_tuple=True)
    ends = (blocks != 0).sum(dim=1).cumsum(dim=0).view(num_blocks, num_outputs)
    begins = torch.cat([torch.zeros(1, dtype=torch.long), ends[:-1, -1]])
    starts = torch.cat([begins[:, None], ends], dim=1)
    return PackedLinear(
        num_inputs,
        block,
        starts.to(torch.int32).contiguous(),
        inputs.to(torch.uint16),
        blocks[rows, inputs].contiguous(),
        bias,
    )
