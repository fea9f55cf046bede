"""Shape: what the three kinds of tasks have in common for preparation and evaluation."""

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from sparsezoo_hub.training.tasks.batches import Encoded

# The logits of each head, one array to a position that counts: (num_classes,).
Heads = Sequence[Sequence[NDArray[Any]]]


class Shape(Protocol):
    """Tokenizes examples, and judges what a model says about them."""

    def encode(self, examples: Sequence[Any]) -> Encoded:
        """Return examples as a model's inputs.

        Raises:
            CorpusError: if an example does not fit into a model's input.
        """

    def outcomes(self, encoded: Encoded, heads: Heads) -> list[Any]:
        """Return for each example what was right and what the model said."""

    def metrics(self, outcomes: Sequence[Any]) -> dict[str, float]:
        """Return the task's metrics, each in [0, 1]."""

    def check_defined(self, examples: Sequence[Any], what: str) -> None:
        """Refuse a set of examples on which a metric is undefined.

        Raises:
            CorpusError: if nothing that F1 counts is in the gold labels.
        """
