"""The loss guard: what diverges is stopped, what is healthy is not, and the last checkpoint is a good one."""

import json
import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from forked_processes import ended, words
from launched_case import launch_run, said
from run_case import SHORT_RECIPE, tiny_recipe
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.loss_history import LossBounds
from sparsezoo_hub.errors import LossError
from sparsezoo_hub.training.loss_guard import LossGuard
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_log import LOG
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY

_STEADY = "learning_rate: {peak: 2.0e-3}"


def recipe_text(rate: str) -> str:
    """The teacher of the short recipe for 100 steps, its learning rate restarted at ``rate`` after 45."""
    assert _STEADY in SHORT_RECIPE
    restarted = f"learning_rate: {{peak: 2.0e-3, schedule: restarts, restarts: [{{at: 45, peak: {rate}}}]}}"
    return SHORT_RECIPE.replace(_STEADY, restarted).replace("steps: 12", "steps: 100", 1)


def begun(out: Path, texts: list[Path], rate: str) -> RecipeRun:
    recipe = tiny_recipe(recipe_text(rate))
    return RecipeRun(recipe, out, text={EVERY: texts}, options=RunOptions(checkpoint_every=15))


def trained(out: Path, texts: list[Path], rate: str) -> list[str]:
    """The events of the log's lines after the teacher's stage, which may end with a LossError."""
    run = begun(out, texts, rate)
    run.make_parents()
    run.run_stage("teacher")
    return [json.loads(line)["event"] for line in (out / LOG).read_text().splitlines()]


def checkpoints(out: Path) -> dict[str, Path]:
    return {path.name: path for path in (out / "stages" / "teacher" / "seed-0.checkpoints").iterdir()}


def weights_are_finite(checkpoint: Path) -> bool:
    return all(bool(each.isfinite().all()) for each in load_file(checkpoint / "model.safetensors").values())


@pytest.mark.parametrize(
    ("rate", "reason"),
    [
        ("1.0e+6", r"step (50|60): the loss is nan, the learning rate \d\.\de\+05"),
        ("1.0e+1", r"step (90|95|100): the loss \S+ has exploded \(far above 15\.39\), the learning \S+ \S+"),
    ],
    ids=["nan", "exploded"],
)
def test_a_run_that_diverges_stops_with_its_last_good_checkpoint(
    rate: str, reason: str, texts: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(LossError) as stopped:
        trained(out, texts, rate)
    found = checkpoints(out)
    assert sorted(found) == ["checkpoint-30", "checkpoint-45"]  # none was written after the restart
    assert weights_are_finite(found["checkpoint-45"])
    last = re.escape(str(found["checkpoint-45"]))
    assert re.fullmatch(
        rf"stage teacher, {reason}; the last good checkpoint is {last}: if a device was at fault, the same "
        r"command goes on from it; otherwise take a lower learning rate or another seed, and another --out",
        str(stopped.value),
    )
    end = json.loads((out / LOG).read_text().splitlines()[-1])
    assert end["event"] == "stopped by the loss guard"
    assert end["message"] == str(stopped.value)

    # The same again: the same on a CPU, from the good checkpoint.
    with pytest.raises(LossError, match=re.escape(str(stopped.value))):
        trained(out, texts, rate)
    assert '"event": "stage resumed", "stage": "teacher", "seed": 0, "step": 45' in (out / LOG).read_text()


def test_a_loss_that_jumps_and_comes_back_is_not_stopped(texts: list[Path], tmp_path: Path) -> None:
    happened = trained(tmp_path / "run", texts, "3.0e-1")
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line["event"] == "step"}
    before = losses[45]
    assert max(losses.values()) > 1.3 * before  # it did jump
    assert losses[100] < max(losses.values()) - 1
    assert happened[-1] == "stage finished"


BOUNDS = LossBounds(guessing=5.0, exploded=15.0)


class Looked:
    """A guard in a Trainer's hands, one logged loss after the other."""

    def __init__(self, folder: Path, every: int = 10) -> None:
        self.arguments = TrainingArguments(output_dir=str(folder), save_steps=every, report_to=[])
        self.state = TrainerState()
        self.guard = LossGuard("a", BOUNDS, folder)
        self.guard.on_train_begin(self.arguments, self.state, TrainerControl())

    def look(self, step: int, loss: float, gradient: float = 1.0, *, asked: bool = False) -> bool:
        """Whether a checkpoint follows; ``asked`` is by more than the schedule."""
        self.state.global_step = step
        control = TrainerControl(should_save=asked or step % self.arguments.save_steps == 0)
        logs = {"loss": loss, "grad_norm": gradient, "learning_rate": 1e-3}
        self.guard.on_log(self.arguments, self.state, control, logs=logs)
        return control.should_save


def test_a_checkpoint_waits_until_the_loss_is_healthy_again(tmp_path: Path) -> None:
    looked = Looked(tmp_path, every=20)
    assert [looked.look(step, 1.0) for step in (10, 20)] == [False, True]
    assert [looked.look(step, 99.0) for step in (30, 40, 50)] == [False, False, False]
    assert [looked.look(step, 1.0) for step in (55, 60, 70)] == [True, True, False]


def test_a_checkpoint_that_a_signal_asks_for_is_written_and_is_not_called_good(tmp_path: Path) -> None:
    looked = Looked(tmp_path)
    for step in range(10, 60, 10):
        looked.look(step, 1.0)
    (tmp_path / "checkpoint-50").mkdir()
    assert looked.look(53, 99.0, asked=True)
    (tmp_path / "checkpoint-53").mkdir()
    with pytest.raises(LossError) as stopped:
        looked.look(60, math.nan)
    assert (
        f"the last good checkpoint is {tmp_path}/checkpoint-50: if a device was at fault, the same command "
        f"goes on from it, once {tmp_path}/checkpoint-53 is deleted; otherwise take"
    ) in str(stopped.value)


def test_a_gradient_that_is_no_number_stops_before_its_weights_are_saved(tmp_path: Path) -> None:
    with pytest.raises(LossError, match=r"^stage a, step 10: the gradient is inf, .*; there is no good"):
        Looked(tmp_path).look(10, 1.0, gradient=torch.inf)


@pytest.mark.distributed
def test_several_processes_stop_together_and_one_says_why(texts: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    processes = launch_run(partial(begun, out, texts, "1.0e+6"), out, processes=2)
    said_by = [said(out, rank) for rank in range(2)]
    assert ended(processes) == [1, 1], [words(each) for each in said_by]
    spoken = [words(each) for each in said_by]
    assert re.search(
        rf"^error: stage teacher, step \d+: the loss is nan, .* is {out}/\S+/checkpoint-45: ", spoken[0], re.M
    )
    assert "the loss is nan" not in spoken[1]
    assert set(checkpoints(out)) == {"checkpoint-30", "checkpoint-45"}
