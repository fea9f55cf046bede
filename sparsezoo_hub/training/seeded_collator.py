"""Seeded collator: what is random in a batch depends on the batch's number, not on what was drawn before.

The Trainer fetches a batch before the step that comes before it, so its own random state at a checkpoint has
already been used for the masks of a batch that a resumed run fetches again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch


class SeededCollator:
    """Calls a collator with torch's random numbers seeded anew for each batch.

    Args:
        collate: from a list of examples to a batch.
        seed: of the run.
        process: this process's number; each has its own batches.
        batch: how many batches came before.
    """

    def __init__(
        self, collate: Callable[[Sequence[Any]], Any], seed: int, process: int, batch: int = 0
    ) -> None:
        self.collate = collate
        self.seed = seed
        self.process = process
        self.batch = batch

    def __call__(self, examples: Sequence[Any]) -> Any:
        """Return the next batch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash((self.seed, self.process, self.batch)))
            self.batch += 1
            return self.collate(examples)
