"""Row blocks: weights cut into blocks of input features, with compressed rows in each."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# A weight of more nonzeros than this share is multiplied as it is, where that is faster.
DENSEST = 0.4
# Input features to a block are fewer: there is no maximum of uint16, so that they are compared as int16.
_MOST_OF_BLOCK = 2**15
_MOST_INPUTS = 2**31


def cut(weight: Tensor, block: int) -> Tensor:
    """Return the rows of every block, (num_blocks * num_outputs, block), the last block filled up with 0.

    Args:
        weight: (num_outputs, num_inputs).
        block: input features to a block.
    """
    num_outputs, num_inputs = weight.shape
    num_blocks = -(-num_inputs // block)
    padded = torch.nn.functional.pad(weight, (0, num_blocks * block - num_inputs))
    return padded.view(num_outputs, num_blocks, block).transpose(0, 1).reshape(-1, block)


def joined(rows: Tensor, num_outputs: int, num_inputs: int) -> Tensor:
    """Return the weight (num_outputs, num_inputs) that ``cut`` was given."""
    blocks = rows.view(-1, num_outputs, rows.shape[1])
    return blocks.transpose(0, 1).reshape(num_outputs, -1)[:, :num_inputs]


def row_starts(counts: Tensor, num_outputs: int) -> Tensor:
    """Return where rows begin, (num_blocks, num_outputs + 1) int32; the last of a block is where it ends.

    Args:
        counts: (num_blocks * num_outputs,), entries of each row.
        num_outputs: rows of a block.
    """
    ends = counts.cumsum(dim=0).view(-1, num_outputs)
    begins = torch.cat([torch.zeros(1, dtype=torch.long), ends[:-1, -1]])
    return torch.cat([begins[:, None], ends], dim=1).to(torch.int32).contiguous()


def row_counts(starts: Tensor) -> Tensor:
    """Return the ``counts`` that ``row_starts`` was given."""
    return (starts[:, 1:] - starts[:, :-1]).flatten()


def unpacked(
    starts: Tensor, inputs: Tensor, values: Tensor, num_inputs: int, block: int, group: int = 1
) -> Tensor:
    """Return the dense weight, (num_outputs, num_inputs), of what ``cut`` gave the rows of.

    Args:
        starts: as of ``row_starts``, counted in groups.
        inputs: (num_groups * group,) uint16, input features within their block.
        values: (num_groups * group,); zeros fill up groups.
        num_inputs: of the layer.
        block: input features to a block.
        group: entries that stand together.
    """
    counts = row_counts(starts) * group
    rows = torch.repeat_interleave(torch.arange(len(counts)), counts)
    kept = values != 0
    blocks = torch.zeros(len(counts), block, dtype=values.dtype)
    blocks[rows[kept], inputs.long()[kept]] = values[kept]
    return joined(blocks, starts.shape[1] - 1, num_inputs)


def is_mostly_full(values: Tensor, num_weights: int) -> bool:
    """Return whether a layer's weight is one to multiply as it is, by how many of ``values`` are not 0."""
    return int(values.count_nonzero()) > DENSEST * num_weights


def whole_groups(weight: Tensor, group: int) -> Tensor:
    """Return a weight (num_outputs, num_inputs) with its input features filled up to whole groups."""
    return torch.nn.functional.pad(weight, (0, -weight.shape[1] % group)).contiguous()


def form_problem(tensors: Mapping[str, Tensor], forms: Mapping[str, tuple[torch.dtype, int]]) -> str | None:
    """Return what is wrong with the dtypes, dimensions or layouts of ``tensors``, if anything is."""
    for name, (dtype, num_dimensions) in forms.items():
        tensor = tensors[name]
        if tensor.dtype != dtype:
            return f"{name} has the dtype {tensor.dtype}, not {dtype}"
        if tensor.dim() != num_dimensions or not tensor.is_contiguous() or tensor.device.type != "cpu":
            return f"{name} has the shape {tuple(tensor.shape)}, or does not lie in one piece in memory"
        if tensor.data_ptr() % tensor.element_size():
            return f"{name} does not begin at a multiple of its entries' size"
    return None


def size_problem(num_inputs: Any, block: Any) -> str | None:
    """Return what is wrong with the sizes of a layer, if anything is."""
    if type(num_inputs) is not int or not 0 < num_inputs < _MOST_INPUTS:
        return f"num_inputs is {num_inputs!r:.40}"
    if type(block) is not int or not 0 <= block < _MOST_OF_BLOCK:
        return f"block is {block!r:.40}, it is 0 to {_MOST_OF_BLOCK - 1}"
    return None


def rows_problem(
    starts: Tensor, inputs: Tensor, num_inputs: int, num_outputs: int, block: int, group: int = 1
) -> str | None:
    """Return what would lead the kernels outside of an array, if anything would.

    Args:
        starts: int32, as of ``row_starts``, counted in groups.
        inputs: (num_groups * group,) uint16.
        num_inputs: of the layer.
        num_outputs: of the layer.
        block: input features to a block, at least 1.
        group: entries that stand together.
    """
    num_blocks = -(-num_inputs // block)
    if starts.shape != (num_blocks, num_outputs + 1):
        return f"starts has the shape {tuple(starts.shape)}"
    if int(starts[-1, -1]) * group != len(inputs) or int(starts[0, 0]) != 0:
        return "starts does not end where the nonzeros do"
    if bool((starts.flatten().diff() < 0).any()):
        return "starts goes back"
    last = num_inputs - block * (num_blocks - 1)  # input features of the last block
    signed = inputs.view(torch.int16)
    at = int(starts[-1, 0]) * group
    for part, bound in ((signed[:at], block), (signed[at:], last)):
        if len(part) and not 0 <= int(part.min()) <= int(part.max()) < bound:
            return f"an input feature lies outside of its block of {bound}"
    return None
