"""Validation curve: the validation loss on the way through a stage."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class CurvePoint(BaseModel):
    """The validation loss (nats) after ``step`` optimizer steps, and the sparsity then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    loss: float
    sparsity: float
    learning_rate: float
    seconds: float


class ValidationCurve(TrainerCallback):
    """Measures the validation loss, evenly spread over a stage, and counts the stage's seconds.

    Args:
        evaluations: how many points, the last one at the end.
        steps: of the stage.
        validation_loss: returns the loss of the model as it is now.
        sparsity: returns the sparsity of the pruned weights as it is now.
    """

    def __init__(
        self,
        evaluations: int,
        steps: int,
        validation_loss: Callable[[], float],
        sparsity: Callable[[], float],
    ) -> None:
        self.due = {round(steps * number / evaluations) for number in range(1, evaluations)}
        self.validation_loss = validation_loss
        self.sparsity = sparsity
        self.points: list[CurvePoint] = []
        self._earlier = 0.0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """The stage's seconds so far, those before an interruption included."""
        return self._earlier + time.monotonic() - self._began

    def state(self) -> dict[str, Any]:
        """Return the points so far and the seconds."""
        return {"points": [point.model_dump() for point in self.points], "seconds": self.seconds}

    def tensors(self) -> dict[str, Tensor]:
        """Return none."""
        return {}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from ``state``."""
        del tensors
        self.points = [CurvePoint.model_validate(point) for point in state["points"]]
        self._earlier = state["seconds"]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure when it is due."""
        del args, control
        if state.global_step in self.due:
            self.points.append(
                CurvePoint(
                    step=state.global_step,
                    loss=self.validation_loss(),
                    sparsity=self.sparsity(),
                    learning_rate=kwargs["lr_scheduler"].get_last_lr()[0],
                    seconds=round(self.seconds, 2),
                )
            )
