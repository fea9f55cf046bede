"""The adapter guard: merging an adapter into a locked weight would fill its zeros, past any optimizer."""

from collections.abc import Callable
from typing import Any

import wrapt
from torch import nn

from sparsezoo_hub.core.weight_lock import WeightLock, locks
from sparsezoo_hub.errors import LockError

_MERGING = ("BaseTuner._unload_and_optionally_merge", "BaseTuner.merge_adapter")


def guard_merging(module: Any) -> None:
    """Make every way of ``peft`` to merge into the base weights ask the pattern lock first.

    Args:
        module: ``peft.tuners.tuners_utils``, just imported.
    """
    for method in _MERGING:
        wrapt.wrap_function_wrapper(module, method, _ask_the_lock)


def _ask_the_lock(
    merge: Callable[..., Any], tuner: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """Merge, unless a locked weight carries an adapter and is not being edited.

    Raises:
        LockError: names a weight, and the way to merge all the same.
    """
    only_unloads = named.get("merge", arguments[0] if arguments else True) is False
    closed = [lock for lock in _adapted_locks(tuner) if not lock.is_open]
    if closed and not only_unloads:
        raise LockError(
            f"merging an adapter would fill the zeros of {len(closed)} locked weights, {closed[0].name} for "
            "example: keep the adapter apart, or merge inside `with PatternLock.editing(model):`, which "
            "zeroes the pattern again at the end"
        )
    return merge(*arguments, **named)


def _adapted_locks(tuner: nn.Module) -> list[WeightLock]:
    bases = [getattr(module, "base_layer", None) for module in tuner.modules()]
    return [lock for base in bases if isinstance(base, nn.Module) for lock in locks(base)]
