"""Packed int8 layers: codes of a weight's nonzeros, in groups of four, as the kernels multiply them."""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from sparsezoo_hub.core.fake_quantization import LARGEST_CODE
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.row_blocks import (
    cut,
    form_problem,
    is_mostly_full,
    row_counts,
    row_starts,
    rows_problem,
    size_problem,
    unpacked,
    whole_groups,
)
from sparsezoo_hub.runtime.stored_linear import StoredLinear

INT8 = "int8"
# Input features to a block; why not fewer is said in packed_linear.
INT8_BLOCK = 768
# Nonzeros that are multiplied at once.
GROUP = 4
# Activations have codes from 0 to this.
_LARGEST_INPUT = 255
_MOST = 2**31 - 1
_FORMS: Mapping[str, tuple[torch.dtype, int]] = {
    "starts": (torch.int32, 2),
    "inputs": (torch.uint16, 1),
    "codes": (torch.int8, 1),
    "scales": (torch.float32, 1),
    "sums": (torch.int32, 1),
    "bias": (torch.float32, 1),
}


@dataclass(frozen=True)
class PackedInt8(StoredLinear):
    """A linear layer of int8 weights and uint8 inputs, with as many nonzeros as there are.

    A row of a block has its negative weights first, then its positive ones, each in the order of their input
    features; zeros fill up negative pairs (in front of the last weight) and groups (at the end).

    Args:
        num_inputs: input features.
        block: input features to a block.
        input_scale: by which inputs are rounded.
        zero_point: the code of the input 0, from 0 to 255.
        starts: (num_blocks, num_outputs + 1) int32, where the rows of each block begin, in groups of four.
        inputs: (num_groups * 4,) uint16, input features within their block.
        codes: (num_groups * 4,) int8, from -127 to 127; the two of a pair have the same sign.
        scales: (num_outputs,) float32, of a weight times ``input_scale``.
        sums: (num_outputs,) int32, of the codes of each row.
        bias: (num_outputs,) float32.
    """

    KIND: ClassVar = INT8
    TENSORS: ClassVar = tuple(_FORMS)
    NUMBERS: ClassVar = ("num_inputs", "block", "input_scale", "zero_point")

    num_inputs: int
    block: int
    input_scale: float
    zero_point: int
    starts: Tensor
    inputs: Tensor
    codes: Tensor
    scales: Tensor
    sums: Tensor
    bias: Tensor

    @functools.cached_property
    def dense_codes(self) -> Tensor | None:
        """The weight's codes with inputs filled up to whole groups, if most are not 0; else None."""
        if not is_mostly_full(self.codes, self.num_outputs * self.num_inputs):
            return None
        return whole_groups(self.weight_codes(), GROUP)

    @property
    def inverse_scale(self) -> float:
        """What inputs are multiplied by, in float32 as in torch's fake quantization."""
        return float(1.0 / torch.tensor(self.input_scale, dtype=torch.float32))

    def structure(self) -> engine.Linear:
        """Return what the kernels read; it points into these tensors."""
        return engine.Linear(
            num_outputs=self.num_outputs,
            num_inputs=self.num_inputs,
            block=self.block,
            starts=self.starts.data_ptr(),
            inputs=self.inputs.data_ptr(),
            bias=self.bias.data_ptr(),
            codes=self.codes.data_ptr(),
            scales=self.scales.data_ptr(),
            sums=self.sums.data_ptr(),
            dense_codes=None if self.dense_codes is None else self.dense_codes.data_ptr(),
            inverse_scale=self.inverse_scale,
            zero_point=self.zero_point,
        )

    def multiply(self, inputs: Tensor) -> Tensor:
        """Return what the kernels make of inputs, in torch: (num_tokens, num_outputs) float32.

        A token with a nan or inf becomes nan.

        Args:
            inputs: (num_tokens, num_inputs) float32.
        """
        lowest, highest = -self.zero_point, _LARGEST_INPUT - self.zero_point
        rounded = (inputs * self.inverse_scale).clamp(lowest, highest).round()
        products = F.linear(rounded.double(), self.weight_codes().double())  # whole numbers: exact
        spoiled = (inputs * 0).sum(dim=-1, keepdim=True)
        return products.float() * self.scales + self.bias + spoiled

    def weight_codes(self) -> Tensor:
        """Return the weight's codes, (num_outputs, num_inputs) int8."""
        return unpacked(self.starts, self.inputs, self.codes, self.num_inputs, self.block, GROUP)

    @functools.cached_property
    def problem(self) -> str | None:
        """What is wrong with the layer, if anything is."""
        return (
            size_problem(self.num_inputs, self.block)
            or form_problem(self.tensors(), _FORMS)
            or next(self._range_problems(), None)
            or next(self._group_problems(), None)
        )

    def _range_problems(self) -> Iterator[str]:
        """Yield what is wrong; what comes after it relies on what was before."""
        if type(self.zero_point) is not int or not 0 <= self.zero_point <= _LARGEST_INPUT:
            yield f"zero_point is {self.zero_point!r:.40}, it is 0 to {_LARGEST_INPUT}"
        if type(self.input_scale) is not float or not 0 < self.input_scale < math.inf:
            yield f"input_scale is {self.input_scale!r:.40}, it is a float above 0"
        if not 0 < self.inverse_scale < math.inf:
            yield f"input_scale {self.input_scale} has no inverse in float32"
        if self.scales.shape != self.bias.shape or self.sums.shape != self.bias.shape:
            yield f"there are {len(self.scales)} scales, {len(self.sums)} sums and {len(self.bias)} biases"
        if not bool((torch.isfinite(self.scales) & (self.scales >= 0)).all()):
            yield "scales are not finite, or below 0"
        if bool((self.sums.long().abs() > LARGEST_CODE * self.num_inputs).any()):
            yield "sums are larger than codes can sum up to"

    def _group_problems(self) -> Iterator[str]:
        """Yield what is wrong; what comes after it relies on what was before."""
        if self.block == 0:
            yield "block is 0"
        if len(self.codes) != len(self.inputs):
            yield f"there are {len(self.codes)} codes and {len(self.inputs)} inputs"
        problem = rows_problem(
            self.starts, self.inputs, self.num_inputs, self.num_outputs, self.block, group=GROUP
        )
        if problem:
            yield problem
        if bool((row_counts(self.starts) * GROUP > self.block + GROUP).any()):
            yield f"a row has more codes than its block of {self.block} input features"
        num_codes = len(self.starts) * (self.block + GROUP)  # of a row, at the most
        if num_codes * LARGEST_CODE * _LARGEST_INPUT > _MOST:
            yield f"32 bits do not hold the sums of {self.num_inputs} products; keep this layer in float32"
        if len(self.codes) and int(self.codes.min()) < -LARGEST_CODE:
            yield f"a code is below {-LARGEST_CODE}"
        first, second = self.codes.view(-1, 2).unbind(dim=1)
        if bool((((first < 0) != (second < 0)) & (first != 0)).any()):
            yield "the two codes of a pair differ in their signs"


def pack_int8(
    codes: Tensor,
    weight_scales: Tensor,
    bias: Tensor,
    input_scale: float,
    zero_point: int,
    block: int = INT8_BLOCK,
) -> PackedInt8:
    """Return an int8 layer as the kernels read it.

    Args:
        codes: (num_outputs, num_inputs) int8, from -127 to 127.
        weight_scales: (num_outputs,) float32.
        bias: (num_outputs,) float32.
        input_scale: by which inputs are rounded.
        zero_point: the code of the input 0, from 0 to 255.
        block: input features to a block, below 2^15.
    """
    num_outputs, num_inputs = codes.shape
    blocks = cut(codes, block)
    negative, positive = _Nonzeros(blocks, blocks < 0), _Nonzeros(blocks, blocks > 0)
    odd = negative.counts % 2
    groups = -(-(negative.counts + odd + positive.counts) // GROUP)
    begins = GROUP * (groups.cumsum(dim=0) - groups)
    # In front of the last of an odd number of negatives is a zero; everything comes one later from there on.
    is_last = negative.places == negative.counts[negative.rows] - 1
    negative_at = begins[negative.rows] + negative.places + is_last * odd[negative.rows]
    positive_at = (begins + negative.counts + odd)[positive.rows] + positive.places
    num_entries = GROUP * int(groups.sum())
    packed_codes, inputs = torch.zeros(num_entries, dtype=torch.int8), torch.zeros(num_entries).int()
    for at, found in ((negative_at, negative), (positive_at, positive)):
        packed_codes[at], inputs[at] = found.values, found.inputs.int()
    return PackedInt8(
        num_inputs,
        block,
        input_scale,
        zero_point,
        row_starts(groups, num_outputs),
        inputs.to(torch.uint16),
        packed_codes,
        (weight_scales.double() * input_scale).float(),
        codes.sum(dim=1, dtype=torch.int32),
        bias,
    )


class _Nonzeros:
    """Row, place among those of the row, input feature and value of what is chosen, row by row."""

    def __init__(self, blocks: Tensor, chosen: Tensor) -> None:
        self.rows, self.inputs = chosen.nonzero(as_tuple=True)
        self.values = blocks[self.rows, self.inputs]
        self.counts = torch.bincount(self.rows, minlength=len(blocks))
        self.places = torch.arange(len(self.rows)) - (self.counts.cumsum(dim=0) - self.counts)[self.rows]
