"""Evaluation: the loss and the accuracy over a whole validation set, exact whatever the batch size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn
from torch.utils.data import DataLoader

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
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    loss = correct = count = 0.0
    for batch in DataLoader(examples, batch_size=batch_size, collate_fn=collate):  # type: ignore[arg-type]
        logits, labels = objective.predict(model, {name: batch[name].to(device) for name in batch})
        loss += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
        correct += int((logits.argmax(dim=-1) == labels).sum())
        count += len(labels)
    model.train(was_training)
    return Evaluation(loss / count, correct / count, int(count))
