"""Plateau: ends a stage whose validation loss stands still."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.stage_settings import Plateau


class PlateauStop(TrainerCallback):
    """Stops the Trainer once ``patience`` evaluations in a row have not improved enough.

    Args:
        plateau: how often to evaluate, and what counts as improvement.
        validation_loss: returns the loss of the model as it is now.
        start: the step after which evaluations count. A loss stands still, or rises, while weights are
            pruned, and a stage that ended there would miss its sparsity.
    """

    def __init__(self, plateau: Plateau, validation_loss: Callable[[], float], start: int = 0) -> None:
        self.plateau = plateau
        self.validation_loss = validation_loss
        self.start = start
        self.best = float("inf")
        self.stale = 0

    def state(self) -> dict[str, Any]:
        """Return the best loss, and how many evaluations have not improved on it."""
        return {"best": self.best, "stale": self.stale}

    def tensors(self) -> dict[str, Tensor]:
        """Return none."""
        return {}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from ``state``."""
        del tensors
        self.best, self.stale = state["best"], state["stale"]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End at once if a run is gone on from the very step that it had ended after."""
        del args, state, kwargs
        control.should_training_stop |= self.stale >= self.plateau.patience

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate when it is due."""
        del args, kwargs
        if state.global_step <= self.start or state.global_step % self.plateau.every:
            return
        loss = self.validation_loss()
        improved = loss <= self.best - self.plateau.min_improvement  # a loss of nan has not
        self.stale = 0 if improved else self.stale + 1
        self.best = min(self.best, loss)
        control.should_training_stop |= self.stale >= self.plateau.patience
