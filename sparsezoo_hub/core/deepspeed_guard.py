"""The DeepSpeed guard: an optimizer with weights of its own would fill the zeros, unseen."""

from collections.abc import Callable
from typing import Any

import wrapt
from torch import nn

from sparsezoo_hub.core.weight_lock import locks
from sparsezoo_hub.errors import LockError


def guard_engine(module: Any) -> None:
    """Make DeepSpeed refuse to train a locked model.

    Args:
        module: ``deepspeed.runtime.engine``, just imported.
    """
    wrapt.wrap_function_wrapper(module, "DeepSpeedEngine.__init__", _ask_the_lock)


def _ask_the_lock(
    begin: Callable[..., Any], _engine: Any, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """Begin, unless the model is locked.

    Raises:
        LockError: names a weight, and what to use instead.
    """
    model = named.get("model", arguments[1] if len(arguments) > 1 else None)
    held = list(locks(model)) if isinstance(model, nn.Module) else []
    if held:
        raise LockError(
            f"the pattern lock of {len(held)} weights, {held[0].name} for example, cannot hold under "
            "DeepSpeed: its optimizers keep a copy of the weights of their own; use DDP or FSDP2, or call "
            "PatternLock.unlock"
        )
    return begin(*arguments, **named)
