"""A run that is interrupted anywhere goes on from its last checkpoint as if nothing had happened."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from interrupted_case import (
    BATCH,
    STAGES,
    digests,
    interrupt_at,
    kill,
    started,
    terminate,
)

from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stop_signals import Interrupted, interruptible

Inputs = tuple[list[Path], Path]


def copied(whole: RecipeRun, out: Path, *without: str) -> Path:
    """The run's folder, some of its stages not yet done."""
    shutil.copytree(whole.out, out)
    for name in without:
        shutil.rmtree(out / "stages" / name)
    return out


def interrupted(run: RecipeRun, stage: str, row: int, how: Callable[[], None]) -> type[BaseException] | None:
    """What ended the stage: an interruption while a row was read, or nothing, if it has fewer."""
    interrupt_at(run, stage, row, how)
    try:
        with interruptible():
            run.run_stage(stage)
    except (ConnectionAbortedError, Interrupted) as ended:
        return type(ended)
    return None


def test_any_split_of_any_stage_into_pieces_ends_bit_for_bit_like_the_whole(
    whole: RecipeRun, inputs: Inputs, tmp_path: Path
) -> None:
    out = copied(whole, tmp_path / "cut", *STAGES)
    generator = random.Random(0)  # noqa: S311 - not a secret
    pieces = set()
    for name, (steps, _) in STAGES.items():
        for how in generator.sample([kill, terminate], 2):
            run = started(out, inputs, every=generator.randint(1, 5))
            pieces.add(interrupted(run, name, generator.randint(1, steps * BATCH), how))
        started(out, inputs, every=3).run_stage(name)
    assert {ConnectionAbortedError, Interrupted} <= pieces
    assert digests(out) == digests(whole.out)
    assert not list(out.rglob("*.checkpoints"))  # a finished stage needs none


@pytest.mark.parametrize("stage", ["magnitude", "surgeon"])
def test_a_stage_that_was_interrupted_after_its_last_step_takes_no_other(
    stage: str, whole: RecipeRun, inputs: Inputs, tmp_path: Path
) -> None:
    # The surgeon's plateau ends it early, at a step that has a checkpoint.
    last = whole.run_stage(stage)[0].steps
    assert (last < STAGES[stage][0]) == (stage == "surgeon")
    out = copied(whole, tmp_path / "cut", stage)
    run = started(out, inputs, every=last)
    checkpoint = out / "stages" / stage / "seed-0.checkpoints" / f"checkpoint-{last}"

    data = run.data.stage_data(run.recipe.stage(stage), run.tokenizer, 0)

    def judge(model: Any) -> Any:
        return kill() if checkpoint.exists() else data.evaluate(model)

    run.data.stage_data = lambda *_: replace(data, evaluate=judge)  # type: ignore[method-assign]
    with pytest.raises(ConnectionAbortedError):
        run.run_stage(stage)
    assert checkpoint.is_dir()
    assert started(out, inputs, every=1000).run_stage(stage)[0].steps == last
    assert digests(out) == digests(whole.out)


def test_int8_ranges_freeze_alike_in_a_run_that_goes_on_from_the_step_that_freezes_them(
    whole: RecipeRun, inputs: Inputs, tmp_path: Path
) -> None:
    freeze = whole.recipe.stage("int8").quantization.freeze  # type: ignore[union-attr]
    assert freeze == 7
    out = copied(whole, tmp_path / "cut", "int8")
    row = 57  # of the batch after that step
    assert interrupted(started(out, inputs, every=freeze), "int8", row, kill) is ConnectionAbortedError
    (checkpoint,) = (out / "stages" / "int8").glob("*/checkpoint-*")
    assert checkpoint.name == f"checkpoint-{freeze}"
    started(out, inputs, every=3).run_stage("int8")
    assert digests(out) == digests(whole.out)
