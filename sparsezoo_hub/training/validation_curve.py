"""Validation curve: the validation set on the way through a stage, and the best model of the way."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.sharding import whole


class Measurement(NamedTuple):
    """A model on the validation set: loss (nats) and main metric."""

    loss: float
    score: float


class CurvePoint(BaseModel):
    """The validation set after ``step`` optimizer steps: loss (nats) and main metric; the sparsity then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    loss: float
    score: float
    sparsity: float
    learning_rate: float
    seconds: float


class ValidationCurve(TrainerCallback):
    """Measures a model, evenly spread over a stage, and counts the stage's seconds.

    Args:
        evaluations: how many points, the last one at the end.
        steps: of the stage.
        measure: judges the model as it is now; the same in every process.
        sparsity: returns the sparsity of the pruned weights as it is now.
        best_of: the model, to remember where its score was the highest; None to remember nothing.
        best_from: earlier points do not count for that.
    """

    def __init__(
        self,
        evaluations: int,
        steps: int,
        measure: Callable[[], Measurement],
        sparsity: Callable[[], float],
        best_of: nn.Module | None = None,
        best_from: int = 0,
    ) -> None:
        self.due = {round(steps * number / evaluations) for number in range(1, evaluations)}
        self.measure = measure
        self.sparsity = sparsity
        self.points: list[CurvePoint] = []
        self.best_of = best_of
        self.best_from = best_from
        self.best_step: int | None = None
        self.best_score = float("-inf")
        self._best: dict[str, Tensor] = {}
        self._earlier = 0.0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """The stage's seconds so far, those before an interruption included."""
        return self._earlier + time.monotonic() - self._began

    def state(self) -> dict[str, Any]:
        """Return the points so far, where the best one was, and the seconds."""
        return {
            "points": [point.model_dump() for point in self.points],
            "best_step": self.best_step,
            "seconds": self.seconds,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the best model so far."""
        return self._best

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from ``state``."""
        self.points = [CurvePoint.model_validate(point) for point in state["points"]]
        self.best_step = state["best_step"]
        self.best_score = next(
            (each.score for each in self.points if each.step == self.best_step), self.best_score
        )
        self._best = dict(tensors)
        self._earlier = state["seconds"]

    def keep_best(self, final: float) -> bool:
        """Give the model its best state, unless its last one, whose score is ``final``, is as good.

        Returns:
            Whether the model was changed.
        """
        if self.best_of is None or self.best_step is None or final >= self.best_score:
            self.best_step = None
            return False
        with torch.no_grad():
            for name, tensor in _state(self.best_of).items():
                tensor.copy_(self._best[name])
        return True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure when it is due."""
        del args, control
        if state.global_step in self.due:
            measured = self.measure()
            self._remember(state.global_step, measured.score)
            self.points.append(
                CurvePoint(
                    step=state.global_step,
                    loss=measured.loss,
                    score=measured.score,
                    sparsity=self.sparsity(),
                    learning_rate=kwargs["lr_scheduler"].get_last_lr()[0],
                    seconds=round(self.seconds, 2),
                )
            )

    def _remember(self, step: int, score: float) -> None:
        if self.best_of is None or step < self.best_from or score <= self.best_score:
            return
        self.best_step, self.best_score = step, score
        self._best = {
            name: whole(tensor.detach()).cpu().clone() for name, tensor in _state(self.best_of).items()
        }


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes: parameters, and the ranges of a quantized layer."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
