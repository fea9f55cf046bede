"""Learning-rate schedules: the factor of the peak learning rate at each step.

All lengths are optimizer steps. ``NEEDS`` says which part of its ``Course`` a schedule cannot do without.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


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


@dataclass(frozen=True)
class Restart:
    """The learning rate jumps to ``factor`` times the peak at step ``at`` and decays from there.

    ``factor`` is above 0 and may be above 1: the quantization half of oBERTa (table 24) restarts at 5e-5
    whatever the peak of the first half was, 1e-5 for example.
    """

    at: int
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.at < 1:
            raise ValueError(f"a restart comes after the first step: at must be 1 or more, got {self.at}")
        if not 0 < self.factor < math.inf:  # also refuses nan
            raise ValueError(
                f"the restart at step {self.at} needs a factor of the peak above 0, got {self.factor}"
            )


@dataclass(frozen=True)
class Course:
    """The stage that a schedule is laid over; every schedule uses what it has a use for.

    Args:
        total: steps of the stage.
        warmup: steps of the linear warm-up.
        window: the mask updates, within [0, total].
        cycle: steps from one peak to the next, at least 1.
        restarts: in order, each after the warm-up and before ``total``.
    """

    total: int
    warmup: int = 0
    window: Window | None = None
    cycle: int | None = None
    restarts: Sequence[Restart] = ()


def linear(step: int, course: Course) -> float:
    """Return the factor of a linear warm-up and decay to zero, in [0, 1].

    Args:
        step: optimizer steps done, in [0, total].
        course: the stage.
    """
    if step < course.warmup:
        return step / course.warmup
    return _decay(step, course.warmup, course.total)


def rewinding(step: int, course: Course) -> float:
    """Return the factor of linear decay that is rewound at each mask update (Prune OFA, appendix C).

    Inside the window the factor goes back, every ``interval`` steps, to what it was at the window's start;
    after it, the decay goes on as it was planned. With P the window's length and D the steps left for
    decaying: ``(total - P - step) / D`` before, ``(total - P - start - (step - start) % interval) / D``
    inside, ``(total - step) / D`` after; in [0, 1].

    Args:
        step: optimizer steps done, in [0, total].
        course: the stage.

    Raises:
        ValueError: without a window.
    """
    if course.window is None:
        raise ValueError(MISSING["window"])
    if step < course.warmup:
        return step / course.warmup
    window = course.window
    length = window.end - window.start
    decay = max(1, course.total - length - course.warmup)
    if step < window.start:
        left = course.total - length - step
    elif step < window.end:
        left = course.total - length - window.start - (step - window.start) % window.interval
    else:
        left = course.total - step
    return min(1.0, max(0.0, left / decay))


def cyclic(step: int, course: Course) -> float:
    """Return the factor of a linear decay to 0 that starts again every ``cycle`` steps, in [0, 1].

    Sparse*BERT's pre-training (section 4.3, twice per epoch from 5e-4 to 0) and oBERTa's (table 22, every
    half epoch). As in SparseML the last step of a cycle of C steps is taken at 0:
    ``1 - (step % C) / (C - 1)``.

    The papers are silent on the edges. Cycles begin at the multiples of ``cycle``, so that they stay aligned
    with the epochs: a warm-up shortens the first cycle, and the last one is as short as the stage leaves it;
    both still go from 1 to 0. A cycle of a single step is its own end, 0; but with ``cycle=1``, where every
    step would be, each is at the peak.

    Args:
        step: optimizer steps done, in [0, total].
        course: the stage.

    Raises:
        ValueError: without a cycle, or if it is below 1.
    """
    if course.cycle is None:
        raise ValueError(MISSING["cycle"])
    if course.cycle < 1:
        raise ValueError(f"a learning-rate cycle takes at least 1 step, got cycle {course.cycle}")
    if step < course.warmup:
        return step / course.warmup
    if step >= course.total:
        return 0.0
    if course.cycle == 1:
        return 1.0
    begin = step - step % course.cycle
    last = min(begin + course.cycle, course.total) - 1
    return _decay(step, max(begin, course.warmup), last)


def restarted(step: int, course: Course) -> float:
    """Return the factor of linear decays to 0, a new one from each restart on.

    Sparse*BERT's pruning while fine-tuning restarts at epochs 2 and 8 (section 4.3), oBERTa's fine-tuning at
    epoch 10, for quantization, with another peak (table 24). Each piece is ``linear`` on its own: it would
    reach 0 at the step of the next restart, or at ``total``, so no step is taken at 0.

    Args:
        step: optimizer steps done, in [0, total].
        course: the stage.

    Returns:
        The factor, in [0, max(1, the largest factor of a restart)].

    Raises:
        ValueError: without restarts, or if they are out of order or outside (warmup, total).
    """
    if not course.restarts:
        raise ValueError(MISSING["restarts"])
    borders = [course.warmup, *(restart.at for restart in course.restarts), course.total]
    if any(later <= earlier for earlier, later in pairwise(borders)):
        raise ValueError(
            f"learning-rate restarts must come in order, after the warm-up ({course.warmup} steps) and "
            f"before the stage's end ({course.total}), got {[restart.at for restart in course.restarts]}"
        )
    if step < course.warmup:
        return step / course.warmup
    factor = 1.0
    begin, end = borders[0], borders[1]
    for restart, after in zip(course.restarts, borders[2:], strict=True):
        if step >= restart.at:
            factor, begin, end = restart.factor, restart.at, after
    return factor * _decay(step, begin, end)


LEARNING_RATES: Mapping[str, Callable[[int, Course], float]] = {
    "cyclic": cyclic,
    "linear": linear,
    "restarts": restarted,
    "rewinding": rewinding,
}
# The one setting that a schedule cannot do without.
NEEDS: Mapping[str, str] = {"cyclic": "cycle", "restarts": "restarts", "rewinding": "window"}
MISSING: Mapping[str, str] = {
    "cycle": "a cyclic learning rate needs cycle, the optimizer steps from one peak to the next",
    "restarts": "a learning rate with restarts needs restarts, the optimizer steps at which it jumps back up",
    "window": "learning-rate rewinding follows the mask updates: the stage needs pruning",
}


def _decay(step: int, begin: int, end: int) -> float:
    """Return 1 at ``begin``, 0 from ``end`` on, and a line between them."""
    return max(0.0, (end - step) / max(1, end - begin))
