"""Progress: what a running stage tells whoever watches."""

from dataclasses import dataclass
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.training.meter import Meter


@dataclass(frozen=True)
class Progress:
    """Where a stage stands after ``step`` of ``total`` optimizer steps.

    Args:
        stage: its name, and the seed if it has several.
        step: optimizer steps done, those before an interruption included.
        total: optimizer steps of the stage.
        learning_rate: of the last step.
        loss: mean of the steps since the last one that was logged (nats).
        sparsity: of the pruned or locked weights, in [0, 1); None without any.
        tokens_per_second: of all processes, padding not counted.
        seconds_left: until the stage's last step.
        number: which of the run's stages this is, from 1.
        count: how many stages the run has.
    """

    stage: str
    step: int
    total: int
    learning_rate: float
    loss: float | None = None
    sparsity: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    number: int = 1
    count: int = 1


class Watcher(Protocol):
    """Shows progress; called after every ``EVERY`` steps and after a stage's last."""

    def __call__(self, progress: Progress) -> None:
        """Take note of where the stage stands."""


EVERY = 10


class ProgressCallback(TrainerCallback):
    """Passes what the Trainer logs on to a watcher.

    Args:
        stage: the stage's name, and its seed if it has several.
        place: which of the run's stages it is, from 1, and how many there are.
        watcher: who watches.
        meter: knows the time left.
    """

    def __init__(self, stage: str, place: tuple[int, int], watcher: Watcher, meter: Meter) -> None:
        self.stage = stage
        self.place = place
        self.watcher = watcher
        self.meter = meter

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report every ``EVERY`` steps and at the last."""
        del args
        logs = kwargs["logs"]
        is_last = state.global_step == state.max_steps or control.should_training_stop
        is_due = "loss" in logs and (state.global_step % EVERY == 0 or is_last)
        if is_due and state.is_world_process_zero:
            number, count = self.place
            self.watcher(
                Progress(
                    self.stage,
                    state.global_step,
                    state.max_steps,
                    logs["learning_rate"],
                    logs["loss"],
                    logs.get("sparsity"),
                    logs.get("tokens_per_second"),
                    self.meter.seconds_left,
                    number,
                    count,
                )
            )
