"""Packed bfloat16 layers: a weight's nonzeros in groups of two, as the kernels multiply them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.row_blocks import (
    cut,
    form_problem,
    is_mostly_full,
    row_starts,
    rows_problem,
    size_problem,
    unpacked,
    whole_groups,
)
from sparsezoo_hub.runtime.stored_linear import StoredLinear

BFLOAT16 = "bfloat16"
# Input features to a block. Their activations are three times a 32 KiB first-level cache: fewer were measured
# slower, for in every block a row's sums are loaded and stored, and its end is guessed wrong.
BFLOAT_BLOCK = 768
# Nonzeros that are multiplied at once.
GROUP = 2
_FORMS: Mapping[str, tuple[torch.dtype, int]] = {
    "starts": (torch.int32, 2),
    "inputs": (torch.uint16, 1),
    "values": (torch.bfloat16, 1),
    "bias": (torch.float32, 1),
}


@dataclass(frozen=True)
class PackedBfloat(StoredLinear):
    """A linear layer of bfloat16 weights, with as many nonzeros as there are.

    Where the processor multiplies bfloat16, inputs are rounded to it; sums are float32.

    Args:
        num_inputs: input features.
        block: input features to a block.
        starts: (num_blocks, num_outputs + 1) int32, where the rows of each block begin, in groups of two.
        inputs: (num_groups * 2,) uint16, input features within their block.
        values: (num_groups * 2,) bfloat16; the last of an odd number is followed by a 0.
        bias: (num_outputs,) float32.
    """

    KIND: ClassVar = BFLOAT16
    TENSORS: ClassVar = tuple(_FORMS)
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
            starts=self.starts.data_ptr(),
            inputs=self.inputs.data_ptr(),
            bias=self.bias.data_ptr(),
            bfloats=self.values.data_ptr(),
            dense_bfloats=None if self.dense_values is None else self.dense_values.data_ptr(),
        )

    @functools.cached_property
    def dense_values(self) -> Tensor | None:
        """The weight with inputs filled up to whole groups, if most entries are not 0; else None."""
        if not is_mostly_full(self.values, self.num_outputs * self.num_inputs):
            return None
        return whole_groups(self.weight(), GROUP)

    def multiply(self, inputs: Tensor) -> Tensor:
        """Return the products in torch, inputs not rounded: (num_tokens, num_outputs) float32.

        Args:
            inputs: (num_tokens, num_inputs) float32.
        """
        return F.linear(inputs, self.weight().float(), self.bias)

    def weight(self) -> Tensor:
        """Return the dense weight, (num_outputs, num_inputs) bfloat16."""
        return unpacked(self.starts, self.inputs, self.values, self.num_inputs, self.block, GROUP)

    @functools.cached_property
    def problem(self) -> str | None:
        """What is wrong with the layer, if anything is."""
        problem = size_problem(self.num_inputs, self.block) or form_problem(self.tensors(), _FORMS)
        if problem:
            return problem
        if self.block == 0:
            return "block is 0"
        if len(self.inputs) != len(self.values):
            return f"there are {len(self.values)} values and {len(self.inputs)} inputs"
        return rows_problem(
            self.starts, self.inputs, self.num_inputs, self.num_outputs, self.block, group=GROUP
        )


def pack_bfloat(weight: Tensor, bias: Tensor, block: int = BFLOAT_BLOCK) -> PackedBfloat:
    """Return a bfloat16 layer as the kernels read it.

    Args:
        weight: (num_outputs, num_inputs) of any float dtype.
        bias: (num_outputs,) float32.
        block: input features to a block, below 2^15.
    """
    num_outputs, num_inputs = weight.shape
    blocks = cut(weight.detach().to("cpu", torch.bfloat16), block)
    rows, inputs = blocks.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(blocks))
    groups = -(-counts // GROUP)
    # Rows of an odd number of entries move those that follow on by one.
    at = torch.arange(len(rows)) + (groups * GROUP - counts).cumsum(dim=0)[rows] - (counts % GROUP)[rows]
    num_entries = GROUP * int(groups.sum())
    values, places = torch.zeros(num_entries, dtype=torch.bfloat16), torch.zeros(num_entries).int()
    values[at], places[at] = blocks[rows, inputs], inputs.int()
    return PackedBfloat(
        num_inputs, block, row_starts(groups, num_outputs), places.to(torch.uint16), values, bias
    )
