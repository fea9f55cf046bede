"""Frozen embeddings: for how much of a stage the embeddings stand still."""

from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.core.embedding_freeze import EmbeddingFreeze


class FrozenEmbeddings(TrainerCallback):
    """Holds the embeddings while transformers' Trainer trains the rest (oBERTa, tables 23 and 24).

    Args:
        model: the model that is trained.
        until: the embeddings are trained from this optimizer step on: the first ``until`` steps leave them
            as they are. None: they stand still for the whole stage.

    Raises:
        ValueError: if the model has no embeddings, or ``until`` is below 1.
    """

    def __init__(self, model: nn.Module, until: int | None = None) -> None:
        if until is not None and until < 1:
            raise ValueError(
                f"embeddings can be frozen until step 1 or later, got {until}; "
                "leave the freeze out to train them"
            )
        self.until = until
        self.embeddings = EmbeddingFreeze(model)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Freeze, unless the run is resumed after ``until``."""
        del args, control, kwargs
        if self.until is None or state.global_step < self.until:
            self.embeddings.freeze()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Release after step ``until``."""
        del args, control, kwargs
        if self.until is not None and state.global_step >= self.until:
            self.embeddings.release()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Release: the next stage decides for itself."""
        del args, state, control, kwargs
        self.embeddings.release()
