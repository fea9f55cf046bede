"""Batches of examples of about the same length."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from training_case import VOCABULARY, classifier, sparse_trainer

from sparsezoo_hub.training.numbered_rows import length_grouped
from sparsezoo_hub.training.trainer import SparseTrainer

Row = dict[str, Tensor]
# Lengths 4 to 19, each four times; the first token names the row.
LENGTHS = [4 + row % 16 for row in range(64)]


def rows() -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "input_ids": torch.randint(5, VOCABULARY, (length,), generator=generator),
            "attention_mask": torch.ones(length, dtype=torch.long),
            "labels": torch.tensor(row % 3),
        }
        for row, length in enumerate(LENGTHS)
    ]


class PadAndRecord:
    def __init__(self) -> None:
        self.lengths: list[list[int]] = []

    def __call__(self, batch: Sequence[Row]) -> Row:
        self.lengths.append([len(row["input_ids"]) for row in batch])
        return {
            "input_ids": pad_sequence([row["input_ids"] for row in batch], batch_first=True),
            "attention_mask": pad_sequence([row["attention_mask"] for row in batch], batch_first=True),
            "labels": torch.stack([row["labels"] for row in batch]),
        }


def trainer(folder: Path, steps: int, *, grouped: bool = True) -> tuple[SparseTrainer, PadAndRecord]:
    torch.manual_seed(0)
    made = sparse_trainer(
        folder,
        classifier(),
        "sequence_classification",
        rows(),
        steps=steps,
        group_by_length=grouped,
        arguments={"save_strategy": "steps", "save_steps": 20, "seed": 7},
    )
    made.data_collator = PadAndRecord()
    return made, made.data_collator


def padding(batches: Sequence[Sequence[int]]) -> int:
    return sum(max(batch) * len(batch) - sum(batch) for batch in batches)


def test_an_epoch_has_every_example_once_and_a_fraction_of_the_padding(tmp_path: Path) -> None:
    seen = {}
    for grouped in (False, True):
        made, record = trainer(tmp_path / str(grouped), 32, grouped=grouped)
        made.train()
        epochs = record.lengths[:16], record.lengths[16:32]
        assert [sorted(chain.from_iterable(epoch)) for epoch in epochs] == [sorted(LENGTHS)] * 2
        assert epochs[0] != epochs[1]
        seen[grouped] = padding(record.lengths[:32])
    assert seen[True] < seen[False] / 2


def test_an_epochs_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return list(length_grouped(rows(), 4, seed)(epoch))

    again = length_grouped(rows(), 4, 0)
    assert [order(0, 1), order(0, 0)] == [list(again(1)), list(again(0))]
    assert sorted(order(0, 1)) == list(range(64))
    assert len({tuple(order(seed, epoch)) for seed in (0, 10) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("steps", [24, 40])
def test_what_is_resumed_within_a_later_epoch_ends_bit_for_bit_alike(steps: int, tmp_path: Path) -> None:
    whole, whole_record = trainer(tmp_path / "whole", steps)
    whole.train()
    again, record = trainer(tmp_path / "again", steps)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-20"))
    assert record.lengths[: steps - 20] == whole_record.lengths[20:steps]
    ours, theirs = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
