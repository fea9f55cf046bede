"""What a run says of itself: progress, its log, and what a stage begins with."""

import json
import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from run_case import SHORT_RECIPE, tiny_recipe
from training_case import classifier, labelled_rows, sparse_trainer
from transformers import TrainerState

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.training.meter import Meter
from sparsezoo_hub.training.progress import Progress
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_log import LOG, RunLog
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY

# Rows of 16 tokens, 8 to a step, none padded.
TOKENS = 8 * 16


class Told:
    def __init__(self, interrupt_at: int | None = None) -> None:
        self.progress: list[Progress] = []
        self.lines: list[str] = []
        self.interrupt_at = interrupt_at

    def __call__(self, progress: Progress) -> None:
        self.progress.append(progress)
        if progress.stage == "student" and progress.step == self.interrupt_at:
            raise KeyboardInterrupt


def run_of(out: Path, texts: list[Path], told: Told) -> RecipeRun:
    run = RecipeRun(
        tiny_recipe(SHORT_RECIPE),
        out,
        text={EVERY: texts},
        options=RunOptions(checkpoint_every=4),
        watcher=told,
        tell=told.lines.append,
    )
    run.make_parents()
    return run


def finish(run: RecipeRun) -> None:
    run.run_stage("teacher")
    run.run_stage("student")


def events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


@pytest.fixture(scope="module")
def resumed(texts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told, Told]:
    """A run whose second stage was interrupted after step 10, and goes on from step 8."""
    out = tmp_path_factory.mktemp("watched") / "run"
    first, second = Told(interrupt_at=10), Told()
    with pytest.raises(KeyboardInterrupt):
        finish(run_of(out, texts, first))
    with (out / LOG).open("ab") as file:
        file.write(b'{"time": "2026-01-01T00:00:00", "ev')  # what a kill may leave
    finish(run_of(out, texts, second))
    return out, first, second


def test_every_line_of_the_log_is_whole_and_dated_in_utc(resumed: tuple[Path, Told, Told]) -> None:
    lines = events(resumed[0])
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)
    assert {time.utcoffset() for time in times} == {timedelta(0)}


def test_the_log_says_what_happened_in_order(resumed: tuple[Path, Told, Told]) -> None:
    happened = [
        (line["event"], line.get("step")) for line in events(resumed[0]) if line["stage"] == "student"
    ]
    assert happened == [
        ("stage started", 0),
        ("masks updated", 0),
        ("masks updated", 2),
        ("masks updated", 4),
        ("step", 4),
        ("checkpoint written", 4),
        ("masks updated", 6),
        ("step", 8),
        ("checkpoint written", 8),
        ("step", 10),
        ("interrupted", None),
        ("stage resumed", 8),
        ("step", 10),
        ("step", 12),
        ("checkpoint written", 12),
        ("stage finished", 12),
    ]


def test_a_step_line_has_all_that_is_plotted(resumed: tuple[Path, Told, Told]) -> None:
    steps = [line for line in events(resumed[0]) if line["event"] == "step"]
    for line in steps:
        assert line["total"] == 12
        assert line["seed"] == 0
        assert line["tokens"] == TOKENS * line["step"]  # those before the interruption included
        assert min(line["loss"], line["learning_rate"], line["tokens_per_second"], line["seconds"]) > 0
    teacher = [line for line in steps if line["stage"] == "teacher"]
    student = [line for line in steps if line["stage"] == "student"]
    assert not any("sparsity" in line for line in teacher)
    # 0.3 + 0.6 * (1 - (1 - 4 / 6) ** 3) = 0.878 at step 4, in whole weights of small matrices.
    assert [line["sparsity"] for line in student] == pytest.approx([0.878, 0.9, 0.9, 0.9, 0.9], abs=2e-3)


def test_the_resumed_steps_have_the_same_losses(resumed: tuple[Path, Told, Told]) -> None:
    twice = [line for line in events(resumed[0]) if line["event"] == "step" and line["step"] == 10]
    before, after = [line for line in twice if line["stage"] == "student"]
    assert before["loss"] == after["loss"]


def test_a_stage_says_what_it_begins_with(resumed: tuple[Path, Told, Told]) -> None:
    out, first, second = resumed
    rows = next(line["rows"] for line in events(out))
    assert first.lines == [
        f"stage {number} of 2 {name}: {rows:,} rows of up to 16 tokens from text, 12 steps of 8 rows, "
        "1 process, float32"
        for number, name in ((1, "teacher"), (2, "student"))
    ]
    assert second.lines == [f"{first.lines[1]}, goes on from step 8"]


def test_progress_has_the_place_of_the_stage_and_the_numbers_of_the_log(
    resumed: tuple[Path, Told, Told],
) -> None:
    out, first, second = resumed
    assert [(each.number, each.count, each.stage, each.step) for each in first.progress] == [
        (1, 2, "teacher", 10),
        (1, 2, "teacher", 12),
        (2, 2, "student", 10),
    ]
    assert [each.step for each in second.progress] == [10, 12]
    last = next(line for line in reversed(events(out)) if line["event"] == "step")
    shown = second.progress[-1]
    assert (shown.loss, shown.learning_rate, shown.sparsity, shown.tokens_per_second) == tuple(
        last[name] for name in ("loss", "learning_rate", "sparsity", "tokens_per_second")
    )
    assert shown.seconds_left == 0


def test_padding_does_not_count_as_tokens(tmp_path: Path) -> None:
    rows = labelled_rows(32)
    kept = 0
    for number, row in enumerate(rows):
        row["attention_mask"][3 + number % 5 :] = 0
        kept += 3 + number % 5
    meter = Meter(lambda: None)
    trainer = sparse_trainer(
        tmp_path,
        classifier(),
        "sequence_classification",
        rows,
        steps=8,  # of 4 rows: every row once; logged after the last, as nothing else asks for it
        meter=meter,
    )
    trainer.train()
    assert trainer.state.num_input_tokens_seen == kept


def test_the_time_left_is_estimated_from_this_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 130.0, 160.0])  # 30 seconds to 10 steps
    monkeypatch.setattr("sparsezoo_hub.training.meter.time.monotonic", lambda: next(clock))
    meter = Meter(lambda: 0.5)
    state = TrainerState(global_step=5000, max_steps=6000, num_input_tokens_seen=640_000)
    meter.on_train_begin(None, state, None)  # type: ignore[arg-type]
    assert meter.seconds_left is None
    for tokens in (torch.tensor(900), torch.tensor(600)):
        state.global_step += 10
        meter.count(tokens)
        reading = meter.read(state)
    assert reading == {"tokens": 641_500, "tokens_per_second": 20.0, "sparsity": 0.5}
    assert meter.seconds_left == 980 * 3


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "new" / LOG).of_stage("a", 1)
    log.event("step", loss=math.nan, grad_norm=math.inf, step=3)
    line = events(tmp_path / "new")[0]
    del line["time"]
    assert line == {"event": "step", "stage": "a", "seed": 1, "loss": None, "grad_norm": None, "step": 3}


def test_a_log_that_cannot_be_written_is_a_clean_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PackageError, match=rf"^{tmp_path}/file/{LOG} cannot be written: File exists; "):
        RunLog(tmp_path / "file" / LOG).event("step")
