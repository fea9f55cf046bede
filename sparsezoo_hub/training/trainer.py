"""The trainer: transformers' own loop, with distillation and the schedules of the papers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, Sampler
from transformers import Trainer

from sparsezoo_hub.core.distillation import (
    attention_loss,
    combined_loss,
    distillation_loss,
    hidden_state_loss,
)
from sparsezoo_hub.core.stage_settings import Distillation
from sparsezoo_hub.training.checkpoint_files import saving
from sparsezoo_hub.training.meter import Meter
from sparsezoo_hub.training.numbered_rows import Mask, NumberedRows, RowOrder, length_grouped, shuffled
from sparsezoo_hub.training.objectives import IGNORED_LABEL, Batch, Objective, Outcome
from sparsezoo_hub.training.sharded_training import grouped_by_layers
from sparsezoo_hub.training.streams.loader import StreamLoader


class SparseTrainer(Trainer):
    """``transformers.Trainer`` with our loss and learning rate; everything else is the library's.

    Args:
        objective: what the model predicts.
        learning_rate_factor: from optimizer steps done to the factor of the peak learning rate.
        teacher: a model of the same objective and vocabulary, or None.
        distillation: weights and temperature; needed with a teacher. With weights for hidden states or
            attentions, both models' configs ask for them.
        mask: of a row and a seed, for rows that are masked anew at every visit; None for others.
        group_by_length: whether batches are made of examples of about the same length.
        meter: counts the tokens and adds what it reads to what is logged.
        train_dataset: a sequence of rows, or a stream's loader.
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
        mask: Mask | None = None,
        group_by_length: bool = False,
        meter: Meter | None = None,
        train_dataset: Any = None,
        **arguments: Any,
    ) -> None:
        seed = arguments["args"].seed
        is_stream = isinstance(train_dataset, StreamLoader)
        rows = train_dataset if is_stream else NumberedRows(train_dataset, mask, seed)
        super().__init__(train_dataset=rows, **arguments)
        self.meter = meter
        if meter is not None:
            self.add_callback(meter)
        self.objective = objective
        self.learning_rate_factor = learning_rate_factor
        self.distillation = distillation
        self._order: RowOrder | None = None
        if not is_stream:
            num_rows, batch_size = len(train_dataset), self.get_total_train_batch_size(self.args)
            grouped = group_by_length
            self._order = RowOrder(
                num_rows,
                batch_size,
                length_grouped(train_dataset, batch_size, seed) if grouped else shuffled(num_rows, seed),
            )
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False).to(self.args.device)
        # The loss below has the model's outputs alone, and is a part of the mean over the whole batch.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of one batch: the task's, or its combination with the teacher's.

        Args:
            model: wrapped or not.
            inputs: this process's part of what is accumulated to one optimizer step.
            return_outputs: whether the logits are returned too.
            num_items_in_batch: of ``count_items``, of all parts together. The mean over the processes of the
                sum of their losses is the whole batch's loss then. None: the loss of this part alone.
        """
        items = num_items_in_batch if isinstance(num_items_in_batch, Tensor) else None
        outcome = self.objective.predict(model, inputs)
        loss = task_loss(outcome, items)
        if self.teacher is not None and self.distillation is not None:
            with torch.no_grad():
                taught = self.objective.predict(self.teacher, inputs)
            loss = distilled_loss(loss, outcome, taught, self.distillation, inputs["attention_mask"], items)
        if items is not None:
            loss = loss * self.accelerator.num_processes  # whose gradients DDP and FSDP2 average
        return (loss, {"logits": outcome.predictions[0].logits}) if return_outputs else loss

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | None]:
        """Return this process's batches of an optimizer step, and what those of all processes count."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        # On a GPU neither the sums nor their exchange are waited for. At least 1 each, so that a batch where
        # nothing is asked for has a loss of 0.
        items = self.accelerator.reduce(count_items(self.objective, batches).to(device), "sum")
        if self.meter is not None:
            self.meter.count(items[-1])
        return batches, items.clamp(min=1)

    def get_train_dataloader(self) -> Any:
        """Return the loader of the batches; a stream deals each process its own, which nothing may wrap."""
        return self.train_dataset if self._order is None else super().get_train_dataloader()

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[Any] | None:
        del train_dataset
        return self._order

    def _prepare_for_training(self, *arguments: Any, **named: Any) -> Any:
        if not self.is_fsdp_enabled:
            return super()._prepare_for_training(*arguments, **named)  # type: ignore[no-untyped-call]
        model, plugin = self.model, self.accelerator.state.fsdp_plugin
        assert model is not None  # noqa: S101 - for the type checker
        # accelerate keeps what it has set up for another type, which it then fails to read back.
        plugin.state_dict_config = plugin.optim_state_dict_config = None
        plugin.set_state_dict_type("FULL_STATE_DICT")  # any number of processes goes on from it
        with grouped_by_layers(model, plugin):
            return super()._prepare_for_training(*arguments, **named)  # type: ignore[no-untyped-call]

    def _run_epoch(self, *, epoch: int, **state: Any) -> None:  # type: ignore[override]
        # accelerate tells the sampler by itself, but not if batches of a resumed epoch are skipped in several
        # processes.
        if self._order is not None:
            self._order.set_epoch(epoch)
        # The library asks whether training is over after a step, so that a run that is gone on from its last
        # one would take another.
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(epoch=epoch, **state)  # type: ignore[no-untyped-call]

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with saving(Path(str(self.args.output_dir)).parent, self.model, self.optimizer):
            super()._save_checkpoint(model, trial)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a loss together with what the meter reads, for whoever watches."""
        if self.meter is not None and "loss" in logs:
            logs |= self.meter.read(self.state)
        super().log(logs, start_time)
        del self.state.log_history[:-1]  # every checkpoint has it, and a long run's would be most of its text

    def _maybe_log_save_evaluate(self, *arguments: Any, **state: Any) -> None:
        # Nothing is saved before somebody has looked at the loss, and the last steps are looked at too.
        self.control.should_log |= self.control.should_save or self.control.should_training_stop
        super()._maybe_log_save_evaluate(*arguments, **state)

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """Return the scheduler of the recipe's learning rate."""
        del num_training_steps  # the factor already knows the stage's length
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), self.learning_rate_factor)
        return self.lr_scheduler


def count_items(objective: Objective, batches: Sequence[Batch]) -> Tensor:
    """Return what the losses of some batches are means over, (num_heads + 1,).

    Each head's labels that count, as masked positions or texts, and at the end the tokens that are not
    padding.
    """
    counts = [
        torch.stack(
            [
                *((batch[name] != IGNORED_LABEL).sum() for name in objective.labels),
                batch["attention_mask"].sum(),
            ]
        )
        for batch in batches
    ]
    return torch.stack(counts).sum(dim=0)


def task_loss(outcome: Outcome, items: Tensor | None = None) -> Tensor:
    """Return the weighted sum of the heads' cross-entropies (nats).

    Args:
        outcome: of one batch.
        items: of ``count_items``, if the batch is a part of a larger one; divides each head's sum.
    """
    losses = [
        each.weight
        * F.cross_entropy(each.logits.float(), each.labels, reduction="sum")
        / (len(each.labels) if items is None else items[head])
        for head, each in enumerate(outcome.predictions)
    ]
    return torch.stack(losses).sum()


def distilled_loss(
    loss: Tensor,
    outcome: Outcome,
    taught: Outcome,
    distillation: Distillation,
    attention_mask: Tensor,
    items: Tensor | None = None,
) -> Tensor:
    """Return the task's loss combined with the distances to the teacher (Prune OFA, equation 3).

    Args:
        loss: of the task.
        outcome: the student's.
        taught: the teacher's, for the same batch.
        distillation: weights and temperature.
        attention_mask: (batch, length), 0 at padding.
        items: of ``count_items``, if the batch is a part of a larger one.
    """
    pairs = zip(outcome.predictions, taught.predictions, strict=True)
    distances = [
        own.weight
        * distillation_loss(
            own.logits, other.logits, distillation.temperature, None if items is None else items[head]
        )
        for head, (own, other) in enumerate(pairs)
    ]
    num_tokens = None if items is None else items[-1]
    total = combined_loss(
        loss, torch.stack(distances).sum(), distillation.distillation_weight, distillation.task_weight
    )
    own, other = outcome.output, taught.output
    if distillation.hidden_states:
        total = total + distillation.hidden_states * hidden_state_loss(
            own.hidden_states, other.hidden_states, attention_mask, num_tokens
        )
    if distillation.attentions:
        total = total + distillation.attentions * attention_loss(
            own.attentions, other.attentions, attention_mask, num_tokens
        )
    return total
