"""Loss guard: stops a stage whose loss is no number any more, or has exploded."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.loss_history import LossBounds, LossHistory
from sparsezoo_hub.errors import LossError
from sparsezoo_hub.training.checkpoint_files import checkpoints_in, step_of
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.pruner import Pruner

# A learning rate that has grown by more than this since the last look was restarted; a warm-up does so too in
# its first steps, when there is nothing to lose.
_RESTARTED = 1.5


class LossGuard(TrainerCallback):
    """Looks at every loss that the Trainer logs; it logs one before each checkpoint, too.

    While a loss is above the bound of its history, no checkpoint is written on schedule, so that the last
    one is good; it is written when the loss is healthy again. With a mask update, a restarted learning rate
    and the begin of quantization, which make a healthy loss jump, the history begins anew.

    Args:
        stage: the stage's name, and its seed if it has several.
        bounds: of the stage's loss.
        scratch: where the stage's checkpoints lie.
        pruner: whose mask updates make the loss jump, if the stage prunes.
        quantized_from: the step after which the model computes in int8, None for never.
    """

    def __init__(
        self,
        stage: str,
        bounds: LossBounds,
        scratch: Path,
        pruner: Pruner | None = None,
        quantized_from: int | None = None,
    ) -> None:
        self.stage = stage
        self.scratch = scratch
        self.pruner = pruner
        self.quantized_from = quantized_from
        self.history = LossHistory(bounds)
        self._rate = math.inf
        self._shape: object = None
        self._is_owed = False

    def state(self) -> dict[str, Any]:
        """Return the losses so far."""
        return self.history.state()

    def tensors(self) -> dict[str, Tensor]:
        """Return none."""
        return {}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from ``state``."""
        del tensors
        self.history.restore(state)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take note of what the model is like, so that only a change of it counts."""
        del args, control, kwargs
        self._shape = self._shape_at(state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Judge the loss and the gradient.

        Raises:
            LossError: in all processes, if training cannot go on.
        """
        logs = kwargs["logs"]
        if "loss" not in logs:
            return
        step = state.global_step
        loss, gradient = _worst(logs["loss"], logs.get("grad_norm", 0.0))
        shape, rate = self._shape_at(step), logs["learning_rate"]
        if shape != self._shape or rate > _RESTARTED * self._rate:
            self.history.forget()
        self._shape, self._rate = shape, rate
        reason = self.history.look(step, loss)
        if reason is None and not math.isfinite(gradient):
            reason = f"the gradient is {gradient}"
        if reason is not None:
            raise LossError(
                f"stage {self.stage}, step {step}: {reason}, the learning rate {rate:.2g}; "
                f"{self._way_on()} take a lower learning rate or another seed, and another --out"
            )
        self._hold_back(args, state, control)

    def _hold_back(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        """Put a checkpoint off while the loss is bad, unless the run ends here and would lose its steps."""
        is_good = self.history.healthy_until == state.global_step
        is_on_schedule = state.global_step % args.save_steps == 0 and not control.should_training_stop
        if control.should_save and is_on_schedule and not is_good:
            control.should_save = False
            self._is_owed = True
        elif self._is_owed and is_good:
            control.should_save = True
            self._is_owed = False

    def _shape_at(self, step: int) -> object:
        reached = None if self.pruner is None else dict(self.pruner.reached)
        return reached, self.quantized_from is not None and step > self.quantized_from

    def _way_on(self) -> str:
        found = checkpoints_in(self.scratch)
        good = [each for each in found if step_of(each) <= self.history.healthy_until]
        if not good:
            return "there is no good checkpoint:"
        # One that a signal asked for while the loss was bad already.
        late = "".join(f", once {each} is deleted" for each in found if each not in good)
        return (
            f"the last good checkpoint is {good[-1]}: if a device was at fault, the same command goes on "
            f"from it{late}; otherwise"
        )


def _worst(loss: float, gradient: float) -> tuple[float, float]:
    """Return the largest of all processes, nan before all, so that they decide alike."""
    if process_state().num_processes == 1:
        return loss, gradient
    # Not every device has float64, and a loss beyond float32's range is infinite for all purposes.
    pair = torch.tensor([[loss, gradient]], device=process_state().device, dtype=torch.float32)
    largest = torch.amax(gather(pair), dim=0)  # a nan is the largest of all
    return float(largest[0]), float(largest[1])
