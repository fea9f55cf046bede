"""Numbered rows: what is drawn for a row depends on its place in the run, not on who works on it.

A run visits rows one after another, ``batch_size`` of them to a step. A row's number is its place in that
order, so processes, gradient accumulation, workers and a resumption leave everything as it is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from sparsezoo_hub.training.token_masking import Row, row_seed

# Number of a row in the run, and its index in the data.
Place = tuple[int, int]
Mask = Callable[[Row, int], dict[str, Tensor]]


class NumberedRows(Dataset[Any]):
    """Rows that are asked for by place, masked by a seed made of the run's and the row's number.

    Args:
        rows: a sequence.
        mask: of a row and a seed; None if rows are taken as they are.
        seed: of the run.
    """

    def __init__(self, rows: Any, mask: Mask | None, seed: int) -> None:
        self.rows = rows
        self.mask = mask
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Place) -> Any:
        number, index = place
        row = self.rows[index]
        return row if self.mask is None else self.mask(row, row_seed(self.seed, number))


class RowOrder(Sampler[Place]):
    """The places of an epoch: every row once, then the first ones again until the last batch is full.

    Args:
        num_rows: at least 1.
        batch_size: rows to an optimizer step, those of all processes together.
        order: from an epoch's number to the indices of all rows in their order.
    """

    def __init__(self, num_rows: int, batch_size: int, order: Callable[[int], Sequence[int]]) -> None:
        self.num_rows = num_rows
        self.num_places = math.ceil(num_rows / batch_size) * batch_size
        self.order = order
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Give an epoch's places from here on; accelerate calls this too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_places

    def __iter__(self) -> Iterator[Place]:
        order, first = self.order(self.epoch), self.epoch * self.num_places
        return ((first + place, order[place % self.num_rows]) for place in range(self.num_places))


def shuffled(num_rows: int, seed: int) -> Callable[[int], Sequence[int]]:
    """Return the order of each epoch, every one shuffled anew."""
    return lambda epoch: torch.randperm(
        num_rows, generator=torch.Generator().manual_seed(seed + epoch)
    ).tolist()


def length_grouped(rows: Any, batch_size: int, seed: int) -> Callable[[int], Sequence[int]]:
    """Return the order of each epoch, rows of about the same length together.

    transformers' sampler draws from the global generator by itself, so that a resumed run would see another
    order.

    Args:
        rows: each with ``input_ids``.
        batch_size: rows of about the same length.
        seed: of the order.
    """
    sampler = LengthGroupedSampler(batch_size, rows)

    def order(epoch: int) -> Sequence[int]:
        sampler.generator = torch.Generator().manual_seed(seed + epoch)
        return list(sampler)

    return order
