from pathlib import Path

import pytest
from training_case import classifier, labelled_rows, sparse_trainer
from transformers import TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.stage_settings import Plateau
from sparsezoo_hub.training.plateau import PlateauStop


def stopped_at(folder: Path, plateau: Plateau, losses: list[float], start: int = 0) -> int | None:
    """Drive the callback by hand; the step at which it asks to stop."""
    left = iter(losses)
    callback = PlateauStop(plateau, lambda: next(left), start)
    arguments, control = TrainingArguments(output_dir=str(folder), report_to=[]), TrainerControl()
    for step in range(1, plateau.every * len(losses) + start + 1):
        callback.on_step_end(arguments, TrainerState(global_step=step), control)
        if control.should_training_stop:
            return step
    return None


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([3.0, 2.0, 1.0, 0.5], None),
        ([3.0, 3.0, 3.0], 15),
        ([3.0, 3.5], None),  # once is not twice
        ([3.0, 2.95, 2.9], 15),  # 0.05 each time is too little
        ([3.0, 2.95, 2.8, 2.75, 2.74], 25),  # 0.15 in between starts the count anew
        ([3.0, 3.5, 2.5, 3.0, 2.45], 25),  # against the best, not against the last
        ([3.0, float("nan"), float("nan")], 15),
    ],
)
def test_it_stops_after_patience_evaluations_without_enough_improvement_and_not_before(
    losses: list[float], expected: int | None, tmp_path: Path
) -> None:
    plateau = Plateau(every=5, min_improvement=0.1, patience=2)
    assert stopped_at(tmp_path, plateau, losses) == expected


def test_what_lies_before_the_start_does_not_count(tmp_path: Path) -> None:
    plateau = Plateau(every=5, min_improvement=0.1, patience=2)
    # The first evaluation is after step 25, and after two that are no better it ends.
    assert stopped_at(tmp_path, plateau, [3.0] * 6, start=20) == 35


@pytest.mark.parametrize(("patience", "last"), [(1, 4), (2, 6)])
def test_the_trainer_ends_there(patience: int, last: int, tmp_path: Path) -> None:
    calls: list[None] = []
    stop = PlateauStop(
        Plateau(every=2, min_improvement=0.0001, patience=patience), lambda: calls.append(None) or 1.0
    )
    trainer = sparse_trainer(
        tmp_path, classifier(), "sequence_classification", labelled_rows(8), steps=20, callbacks=[stop]
    )
    trainer.train()
    assert trainer.state.global_step == last
    assert len(calls) == last // 2
