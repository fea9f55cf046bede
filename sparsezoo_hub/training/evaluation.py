"""Evaluation: the loss and the accuracy over a whole validation set, exact whatever the batch size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.objectives import Objective, Outcome


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a validation set.

    Args:
        loss: mean cross-entropy (nats): of a task the mean of its heads', of masked LM that of the tokens.
        accuracy: share of the positions that are right, in [0, 1].
        num_predictions: how many positions that is: masked tokens, texts, words, or windows of a context.
        metrics: of a task, each in [0, 1]; the papers print them times 100.
        metric: the name of the main one.
        notices: what a reader of the numbers should know about the data.
    """

    loss: float
    accuracy: float
    num_predictions: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    metric: str = "accuracy"
    notices: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The main metric, in [0, 1]."""
        return self.metrics.get(self.metric, self.accuracy)


def evaluate(
    model: nn.Module,
    objective: Objective,
    examples: Sequence[Any],
    collate: Callable[[Any], Any],
    batch_size: int = 64,
) -> Evaluation:
    """Return the mean cross-entropy (nats) and accuracy of an objective's first head.

    Args:
        model: left in the mode (train or eval) that it came in.
        objective: what the model predicts.
        examples: the validation set.
        collate: from a list of examples to a batch; must not draw random numbers.
        batch_size: examples at once; the result does not depend on it.

    Raises:
        CorpusError: if no position counts.
    """
    loss = correct = count = 0.0
    for outcome in evaluated_outcomes(model, objective, examples, collate, batch_size):
        first = outcome.predictions[0]
        loss += float(F.cross_entropy(first.logits.float(), first.labels, reduction="sum"))
        correct += int((first.logits.argmax(dim=-1) == first.labels).sum())
        count += len(first.labels)
    if not count:
        raise CorpusError(f"{len(examples)} validation examples have nothing to predict: add validation text")
    return Evaluation(loss / count, correct / count, int(count))


def evaluated_outcomes(
    model: nn.Module,
    objective: Objective,
    examples: Sequence[Any],
    collate: Callable[[Any], Any],
    batch_size: int = 64,
) -> Iterator[Outcome]:
    """Yield what a model makes of each batch of examples, in their order, without dropout and gradients.

    Args:
        model: left in the mode (train or eval) that it came in, once all batches were taken.
        objective: what the model predicts.
        examples: the validation set.
        collate: from a list of examples to a batch; must not draw random numbers.
        batch_size: examples at once.
    """
    device = next(model.parameters()).device
    loader: DataLoader[Any] = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_size=batch_size,
        collate_fn=collate,
        generator=torch.Generator(),  # a loader draws a seed, which must not come out of training's numbers
    )
    was_training = model.training
    model.eval()
    try:
        for batch in loader:
            # FSDP2 writes into tensors that it may first have made here: not those of inference mode then.
            with torch.no_grad() if isinstance(model, FSDPModule) else torch.inference_mode():
                outcome = objective.predict(model, {name: batch[name].to(device) for name in batch})
            yield outcome
    finally:
        model.train(was_training)
