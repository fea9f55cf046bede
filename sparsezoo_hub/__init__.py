"""Sparse encoder models that stay sparse.

``import sparsezoo_hub`` registers the pattern lock with transformers: from then on, stock
``from_pretrained`` loads a pruned model with its zeros locked, ``ExportedModel`` runs packed models in the
sparse engine, and peft does not merge an adapter into a locked weight unasked, nor does DeepSpeed train one.
Nothing heavy is imported before those are themselves.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from sparsezoo_hub.core.pattern_lock import PatternLock, is_locked, trusting_zeros

__version__ = "0.1.0"
__all__ = ["PatternLock", "is_locked", "trusting_zeros"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("sparsezoo_hub.core.pattern_lock"), name)
    raise AttributeError(f"module 'sparsezoo_hub' has no attribute {name!r}")


def _register_pattern_lock(_module: Any) -> None:
    import_module("sparsezoo_hub.hub.pattern_lock_plugin")


def _register_export_backend(_module: Any) -> None:
    import_module("sparsezoo_hub.runtime.export_backend")


def _guard_merging(tuners: Any) -> None:
    import_module("sparsezoo_hub.core.adapter_guard").guard_merging(tuners)


def _guard_deepspeed(engine: Any) -> None:
    import_module("sparsezoo_hub.core.deepspeed_guard").guard_engine(engine)


# Each runs at once if its module is imported already, else as soon as it is.
wrapt.register_post_import_hook(_register_pattern_lock, "transformers.quantizers.auto")
wrapt.register_post_import_hook(_register_export_backend, "transformers.exporters.auto")
wrapt.register_post_import_hook(_guard_merging, "peft.tuners.tuners_utils")
wrapt.register_post_import_hook(_guard_deepspeed, "deepspeed.runtime.engine")
