"""The trainer: transformers' own loop, with distillation and the schedules of the papers."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer

from sparsezoo_hub.core.distillation import combined_loss, distillation_loss
from sparsezoo_hub.core.recipe import Distillation
from sparsezoo_hub.training.objectives import Batch, Objective


class SparseTrainer(Trainer):
    """``transformers.Trainer`` with our loss and learning rate; everything else is the library's.

    Args:
        objective: what the model predicts.
        learning_rate_factor: from optimizer steps done to the factor of the peak learning rate.
        teacher: a model of the same objective and vocabulary, or None.
        distillation: hardness and temperature; needed with a teacher.
        arguments: passed on to ``transformers.Trainer``.
    """

    objective: Objective

    def __init__(
        self,
        *,
        objective: Objective,
        learning_rate_factor: Callable[[int], float],
        teacher: nn.Module | None = None,
        distillation: Distillation | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.objective = objective
        self.learning_rate_factor = learning_rate_factor
        self.distillation = distillation
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False).to(self.args.device)
        # The loss below is a mean over the batch, so accumulated batches are averaged, not summed.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of one batch: the task's, or its combination with the teacher's."""
        del num_items_in_batch
        logits, labels = self.objective.predict(model, inputs)
        loss = F.cross_entropy(logits.float(), labels)
        if self.teacher is not None and self.distillation is not None:
            with torch.no_grad():
                teacher_logits, _ = self.objective.predict(self.teacher, inputs)
            distilled = distillation_loss(logits, teacher_logits, self.distillation.temperature)
            loss = combined_loss(loss, distilled, self.distillation.hardness)
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Return the scheduler of the recipe's learning rate."""
        del num_training_steps  # the factor already knows the stage's length
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), self.learning_rate_factor)
        return self.lr_scheduler
