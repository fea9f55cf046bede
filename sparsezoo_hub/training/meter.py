"""Meter: how many tokens a stage reads, how fast, and when it will be done."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# Readings that the time left is estimated from: long enough for a mask update to be among them, short enough
# for a first step that compiled to be forgotten.
_READINGS = 100


class Meter(TrainerCallback):
    """Counts tokens without waiting for a device before it is read.

    Args:
        sparsity: of the pruned or locked weights as it is now, in [0, 1); None without any.
    """

    def __init__(self, sparsity: Callable[[], float | None]) -> None:
        self.sparsity = sparsity
        self._counted: Tensor | None = None
        self._readings: deque[tuple[float, int]] = deque(maxlen=_READINGS)
        self._step, self._total = 0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock, at the step that training goes on from."""
        del args, control, kwargs
        self._readings.append((time.monotonic(), state.global_step))

    def count(self, tokens: Tensor) -> None:
        """Add the tokens of a step: one number, on any device."""
        self._counted = tokens if self._counted is None else self._counted + tokens

    def read(self, state: TrainerState) -> dict[str, float]:
        """Return ``tokens`` of the stage so far, ``tokens_per_second`` since the last reading, ``sparsity``.

        The Trainer's state keeps the tokens, so that a checkpoint has them.
        """
        now, (then, _) = time.monotonic(), self._readings[-1]
        tokens = 0 if self._counted is None else int(self._counted)
        self._counted = None
        self._readings.append((now, state.global_step))
        self._step, self._total = state.global_step, state.max_steps
        state.num_input_tokens_seen += tokens
        reading: dict[str, float] = {
            "tokens": state.num_input_tokens_seen,
            "tokens_per_second": round(tokens / max(now - then, 1e-9), 1),
        }
        sparsity = self.sparsity()
        return reading if sparsity is None else {**reading, "sparsity": sparsity}

    @property
    def seconds_left(self) -> float | None:
        """Until the stage's last step, at the speed of the last readings of this start; None before any."""
        if len(self._readings) < 2:  # noqa: PLR2004 - a speed is a difference of two
            return None
        (then, first), (now, last) = self._readings[0], self._readings[-1]
        return (self._total - self._step) * (now - then) / max(last - first, 1)
