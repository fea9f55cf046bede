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


def one_shot(step: int, *, start: int, end: int, initial: float, final: float) -> float:
    """Return ``initial`` before ``start`` and ``final`` from ``start`` on.

    Args:
        step: optimizer steps done.
        start: the step at which everything is pruned at once.
        end: not used; every schedule takes the same arguments.
        initial: sparsity before ``start``, in [0, 1).
        final: sparsity from ``start`` on, in [0, 1).
    """
    del end
    return initial if step < start else final


def constant(step: int, *, start: int, end: int, initial: float, final: float) -> float:
    """Return ``final`` at every step: the model comes pruned, or is pruned before the first step.

    Args:
        step: not used, and so are ``start``, ``end`` and ``initial``; every schedule takes the same
            arguments.
        start: not used.
        end: not used.
        initial: not used.
        final: sparsity, in [0, 1).
    """
    del step, start, end, initial
    return final


SPARSITY_SCHEDULES: Mapping[str, Callable[..., float]] = {
    "constant": constant,
    "cubic": cubic,
    "one_shot": one_shot,
}
