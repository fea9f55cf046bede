"""Evaluation: the loss and the accuracy over a whole validation set, exact whatever the batch size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn
from torch.utils.data import DataLoader

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.objectives import Objective


@dataclass(frozen=True)
class Evaluation:
    """Means over ``num_predictions`` positions (masked tokens, or texts)."""

    loss: float
    accuracy: float
    num_predictions: int


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    objective: Objective,
    examples: Sequence[Any],
    collate: Callable[[Any], Any],
    batch_size: int = 64,
) -> Evaluation:
    """Return the mean cross-entropy (nats) and accuracy over every position that counts.

    Args:
        model: left in the mode (train or eval) that it came in.
        objective: what the model predicts.
        examples: the validation set.
        collate: from a list of examples to a batch; must not draw random numbers.
        batch_size: examples at once; the result does not depend on it.

    Raises:
        CorpusError: if no position counts.
    """
    device = next(model.parameters()).device
    loader: DataLoader[Any] = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_size=batch_size,
        collate_fn=collate,
        generator=torch.Generator(),  # a loader draws a seed, which must not come out of training's numbers
    )
    loss = correct = count = 0.0
    was_training = model.training
    model.eval()
    try:
        for batch in loader:
            logits, labels = objective.predict(model, {name: batch[name].to(device) for name in batch})
            loss += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
            correct += int((logits.argmax(dim=-1) == labels).sum())
            count += len(labels)
    finally:
        model.train(was_training)
    if not count:
        raise CorpusError(f"{len(examples)} validation examples have nothing to predict: add validation text")
    return Evaluation(loss / count, correct / count, int(count))
