"""Learning-rate schedules: the factor of the peak learning rate at each step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """When masks are updated: every ``interval`` steps from ``start`` on, up to ``end``."""

    start: int
    end: int
    interval: int

    def is_update(self, step: int) -> bool:
        """Return whether masks are updated before ``step``; always at ``start`` and at ``end``."""
        if not self.start <= step <= self.end:
            return False
        return (step - self.start) % self.interval == 0 or step == self.end


def linear(step: int, *, total: int, warmup: int, window: Window | None = None) -> float:
    """Return the factor of a linear warm-up and decay to zero.

    Args:
        step: optimizer steps done, in [0, total].
        total: steps of the stage.
        warmup: steps of the warm-up.
        window: not used; every schedule takes the same arguments.
    """
    del window
    if step < warmup:
        return step / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def rewinding(step: int, *, total: int, warmup: int, window: Window | None = None) -> float:
    """Return the factor of linear decay that is rewound at each mask update (Prune OFA, appendix C).

    Inside the window the factor goes back, every ``interval`` steps, to what it was at the window's start;
    after it, the decay goes on as it was planned. With P the window's length and D the steps left for
    decaying: ``(total - P - step) / D`` before, ``(total - P - start - (step - start) % interval) / D``
    inside, ``(total - step) / D`` after.

    Args:
        step: optimizer steps done, in [0, total].
        total: steps of the stage.
        warmup: steps of the warm-up.
        window: the mask updates, within [0, total].

    Raises:
        ValueError: without a window.
    """
    if window is None:
        raise ValueError("learning-rate rewinding follows the mask updates: the stage needs pruning")
    if step < warmup:
        return step / warmup
    length = window.end - window.start
    decay = max(1, total - length - warmup)
    if step < window.start:
        left = total - length - step
    elif step < window.end:
        left = total - length - window.start - (step - window.start) % window.interval
    else:
        left = total - step
    return min(1.0, max(0.0, left / decay))


LEARNING_RATES: Mapping[str, Callable[..., float]] = {"linear": linear, "rewinding": rewinding}
