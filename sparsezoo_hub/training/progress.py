"""Progress: what a running stage tells whoever watches."""

from dataclasses import dataclass
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.training.pruner import Pruner


@dataclass(frozen=True)
class Progress:
    """Where a stage stands after ``step`` of ``total`` optimizer steps."""

    stage: str
    step: int
    total: int
    learning_rate: float
    loss: float | None = None
    sparsity: float | None = None


class Watcher(Protocol):
    """Shows progress; called after every ``EVERY`` steps and after a stage's last."""

    def __call__(self, progress: Progress) -> None:
        """Take note of where the stage stands."""


EVERY = 10


class ProgressCallback(TrainerCallback):
    """Passes the Trainer's state on to a watcher.

    Args:
        stage: the stage's name, and its seed if it has several.
        watcher: who watches.
        pruner: whose sparsity is shown, if the stage prunes.
    """

    def __init__(self, stage: str, watcher: Watcher, pruner: Pruner | None) -> None:
        self.stage = stage
        self.watcher = watcher
        self.pruner = pruner

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report every ``EVERY`` steps and at the last."""
        del args, control
        if state.is_world_process_zero and (
            state.global_step % EVERY == 0 or state.global_step == state.max_steps
        ):
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            self.watcher(
                Progress(
                    self.stage,
                    state.global_step,
                    state.max_steps,
                    kwargs["lr_scheduler"].get_last_lr()[0],
                    losses[-1] if losses else None,
                    None if self.pruner is None else self.pruner.sparsity,
                )
            )
