"""Sparsity schedules: how sparse at which step."""

from collections.abc import Callable, Mapping


def cubic(step: int, *, start: int, end: int, initial: float, final: float) -> float:
    """Return the sparsity of ``step`` on a cubic ramp (Prune OFA, equation 1; Zhu and Gupta, 2018).

    ``final + (initial - final) * (1 - (step - start) / (end - start)) ** 3``, held at ``initial`` up to
    ``start`` and at ``final`` from ``end`` on.

    Args:
        step: optimizer steps done.
        start: the step at which the ramp begins.
        end: the step at which it is over, after ``start``.
        initial: sparsity at ``start``, in [0, 1).
        final: sparsity at ``end``, in [0, 1).
    """
    if step <= start:
        return initial
    if step >= end:
        return final
    return final + (initial - final) * (1 - (step - start) / (end - start)) ** 3


SPARSITY_SCHEDULES: Mapping[str, Callable[..., float]] = {"cubic": cubic}
