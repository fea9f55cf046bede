"""Objectives: from a model and a batch to the logits and labels of the positions that count."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from sparsezoo_hub.core.targets import base_model

IGNORED_LABEL = -100

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """How a model is loaded for an objective, and what it predicts.

    ``predict(model, batch)`` returns logits (num_positions, num_classes) and labels (num_positions,).
    """

    auto_class: Any
    predict: Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]


def predict_masked_tokens(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the vocabulary logits (num_masked, vocab_size) and labels of the masked positions.

    The head runs on the masked positions alone: at 15 % masking that saves most of its cost.

    Args:
        model: a masked language model of transformers, possibly wrapped (DDP).
        batch: ``input_ids``, ``attention_mask`` and ``labels``, each (batch, length); labels are
            ``IGNORED_LABEL`` where nothing is predicted.
    """
    positions = batch["labels"] != IGNORED_LABEL
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with _head_on(positions, getattr(model, "module", model)):
        logits: Tensor = model(**inputs).logits
    return logits, batch["labels"][positions]


def predict_classes(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the class logits (batch, num_labels) and labels (batch,)."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    return model(**inputs).logits, batch["labels"]


@contextmanager
def _head_on(positions: Tensor, model: nn.Module) -> Iterator[None]:
    def select(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[positions]
        return output

    handle = base_model(model).register_forward_hook(select)
    try:
        yield
    finally:
        handle.remove()


OBJECTIVES: Mapping[str, Objective] = {
    "masked_lm": Objective(AutoModelForMaskedLM, predict_masked_tokens),
    "sequence_classification": Objective(AutoModelForSequenceClassification, predict_classes),
}
