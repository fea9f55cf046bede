"""The trainer: transformers' own loop, with distillation and the schedules of the papers."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, Sampler
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from sparsezoo_hub.core.distillation import (
    attention_loss,
    combined_loss,
    distillation_loss,
    hidden_state_loss,
)
from sparsezoo_hub.core.stage_settings import Distillation
from sparsezoo_hub.training.objectives import Batch, Objective, Outcome


class SparseTrainer(Trainer):
    """``transformers.Trainer`` with our loss and learning rate; everything else is the library's.

    Args:
        objective: what the model predicts.
        learning_rate_factor: from optimizer steps done to the factor of the peak learning rate.
        teacher: a model of the same objective and vocabulary, or None.
        distillation: weights and temperature; needed with a teacher. With weights for hidden states or
            attentions, both models' configs ask for them.
        group_by_length: whether batches are made of examples of about the same length.
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
        group_by_length: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.objective = objective
        self.learning_rate_factor = learning_rate_factor
        self.distillation = distillation
        self.group_by_length = group_by_length
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
        outcome = self.objective.predict(model, inputs)
        loss = task_loss(outcome)
        if self.teacher is not None and self.distillation is not None:
            with torch.no_grad():
                taught = self.objective.predict(self.teacher, inputs)
            loss = distilled_loss(loss, outcome, taught, self.distillation, inputs["attention_mask"])
        return (loss, {"logits": outcome.predictions[0].logits}) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[Any] | None:
        if not self.group_by_length:
            return super()._get_train_sampler(train_dataset)
        batch_size = self.args.train_batch_size * self.args.world_size
        return EpochLengthGroups(batch_size, self.train_dataset, self.args.seed)

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Return the scheduler of the recipe's learning rate."""
        del num_training_steps  # the factor already knows the stage's length
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), self.learning_rate_factor)
        return self.lr_scheduler


class EpochLengthGroups(LengthGroupedSampler):
    """Examples of about the same length together, in an order that depends on the epoch's number alone.

    transformers' own draws from the global generator, so that a resumed run would see another order.
    """

    def __init__(self, batch_size: int, dataset: Any, seed: int) -> None:
        super().__init__(batch_size, dataset)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch from here on; accelerate calls this."""
        self.generator = torch.Generator().manual_seed(self.seed + epoch)


def task_loss(outcome: Outcome) -> Tensor:
    """Return the weighted sum of the heads' mean cross-entropies (nats)."""
    losses = [each.weight * F.cross_entropy(each.logits.float(), each.labels) for each in outcome.predictions]
    return torch.stack(losses).sum()


def distilled_loss(
    loss: Tensor, outcome: Outcome, taught: Outcome, distillation: Distillation, attention_mask: Tensor
) -> Tensor:
    """Return the task's loss combined with the distances to the teacher (Prune OFA, equation 3).

    Args:
        loss: of the task.
        outcome: the student's.
        taught: the teacher's, for the same batch.
        distillation: weights and temperature.
        attention_mask: (batch, length), 0 at padding.
    """
    pairs = zip(outcome.predictions, taught.predictions, strict=True)
    distances = [
        own.weight * distillation_loss(own.logits, other.logits, distillation.temperature)
        for own, other in pairs
    ]
    total = combined_loss(
        loss, torch.stack(distances).sum(), distillation.distillation_weight, distillation.task_weight
    )
    own, other = outcome.output, taught.output
    if distillation.hidden_states:
        total = total + distillation.hidden_states * hidden_state_loss(
            own.hidden_states, other.hidden_states, attention_mask
        )
    if distillation.attentions:
        total = total + distillation.attentions * attention_loss(
            own.attentions, other.attentions, attention_mask
        )
    return total
