"""Loss history: whether the losses of a stage are still those of a model that learns."""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsezoo_hub.core.objective_settings import MaskedLM, MaskedLMNextSentence, QuestionAnswering
from sparsezoo_hub.core.recipe import Stage

# A loss that is this many nats above that of uniform guessing says that the model is sure of what is wrong,
# of everything at once: what was pruned too hard guesses, what has exploded has logits of any size.
_SURE_AND_WRONG = 10.0
# What a unit of the weight of hidden states or attentions may add: normalized states differ by a few.
_PER_UNIT = 10.0
# A loss that a model has learned to halve is its own; above the middle between it and guessing, it is lost.
_LEARNT = 0.5
# Optimizer steps in a row after which the loss counts as exploded, or as lost for good.
EXPLODED_AFTER = 50
LOST_AFTER = 500
_WINDOW = 100
_ENOUGH = 20


@dataclass(frozen=True)
class LossBounds:
    """What a stage's loss (nats) can be.

    Args:
        guessing: of a model that gives every class the same probability; no less with a teacher.
        exploded: far above that.
    """

    guessing: float
    exploded: float


def loss_bounds(stage: Stage, vocab_size: int, num_labels: int) -> LossBounds:
    """Return the bounds of a stage's loss.

    Args:
        stage: its objective says how many classes are told apart, its distillation by how much that weighs.
        vocab_size: of the model.
        num_labels: of its classifier; not looked at for other objectives.
    """
    objective = stage.objective
    if isinstance(objective, MaskedLM):
        pairs = isinstance(objective, MaskedLMNextSentence)
        heads = [vocab_size, 2] if pairs else [vocab_size]
    else:
        heads = [stage.max_length if isinstance(objective, QuestionAnswering) else max(num_labels, 2)]
    guessing = sum(math.log(classes) for classes in heads)
    weight, added = 1.0, 0.0
    if stage.distillation is not None and stage.teacher is not None:
        settings = stage.distillation
        # The divergence from any teacher to uniform guessing is at most the logarithm of the classes.
        weight = settings.task_weight + settings.distillation_weight * settings.temperature**2
        added = _PER_UNIT * (settings.hidden_states + settings.attentions)
    return LossBounds(weight * guessing + added, weight * (guessing + _SURE_AND_WRONG * len(heads)) + added)


class LossHistory:
    """Judges the losses of one stage, each the mean since the one before.

    A loss has exploded when it was above ``bounds.exploded`` for ``EXPLODED_AFTER`` steps in a row. What was
    learnt is lost when the running median was at most half of the loss of guessing, and the loss is then
    above the middle between the two for ``LOST_AFTER`` steps in a row. Neither looks at how fast a loss
    rises: pruning, a restarted learning rate and the begin of quantization make healthy losses jump.

    Args:
        bounds: of the stage's loss.
    """

    def __init__(self, bounds: LossBounds) -> None:
        self.bounds = bounds
        self.healthy_until = 0
        self.bounded_until = 0
        self.recent: deque[float] = deque(maxlen=_WINDOW)

    @property
    def bound(self) -> float:
        """The loss above which a model has lost what it had learnt (nats)."""
        if len(self.recent) < _ENOUGH:
            return self.bounds.exploded
        own = statistics.median(self.recent)
        if own > _LEARNT * self.bounds.guessing:
            return self.bounds.exploded
        return (own + self.bounds.guessing) / 2

    def look(self, step: int, loss: float) -> str | None:
        """Take note of a loss, and return in words what is wrong if the model is to be given up.

        Args:
            step: optimizer steps done.
            loss: the mean of the steps since the last look (nats).
        """
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        bound = self.bound
        if loss <= bound:
            self.healthy_until = step
            self.recent.append(loss)
        if loss <= self.bounds.exploded:
            self.bounded_until = step
        if step - self.bounded_until >= EXPLODED_AFTER:
            return f"the loss {loss:.4g} has exploded (far above {self.bounds.exploded:.4g})"
        if step - self.healthy_until >= LOST_AFTER:
            return f"what was learnt is lost: the loss {loss:.4g} stays above {bound:.4g}"
        return None

    def forget(self) -> None:
        """Begin a new running median: from here on, another loss is healthy."""
        self.recent.clear()

    def state(self) -> dict[str, Any]:
        """Return what can be written as JSON."""
        return {
            "healthy_until": self.healthy_until,
            "bounded_until": self.bounded_until,
            "recent": list(self.recent),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self.healthy_until = state["healthy_until"]
        self.bounded_until = state["bounded_until"]
        self.recent = deque(state["recent"], maxlen=_WINDOW)
