"""Sharded training: weights spread over the processes by FSDP2, as accelerate and the Trainer apply it."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate.utils import str_to_bool
from torch import nn
from transformers import PreTrainedModel

from sparsezoo_hub.core.layer_dropping import layer_stack
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.pruning_methods import build_method
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.sharding import whole
from sparsezoo_hub.core.targets import base_model
from sparsezoo_hub.core.weight_lock import locks
from sparsezoo_hub.errors import LockError, RecipeError

_INSTEAD = "start it with DDP (sparsezoo-hub recipes accelerate 8-gpu)"


def check_launch(recipe: Recipe) -> None:
    """Refuse what accelerate was started with if it cannot train the recipe.

    Raises:
        LockError: under DeepSpeed or FSDP1, where no pattern holds.
        RecipeError: under FSDP2, if a stage samples gradients.
    """
    if _asked("ACCELERATE_USE_DEEPSPEED"):
        raise LockError(
            "DeepSpeed's optimizers keep a copy of the weights of their own, in which pruned weights come "
            f"back: {_INSTEAD}"
        )
    if not _asked("ACCELERATE_USE_FSDP"):
        return
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise LockError(
            "FSDP1 flattens the weights, so that no pattern can hold: ask for fsdp_version 2 "
            f"(sparsezoo-hub recipes accelerate 8-gpu-fsdp2), or {_INSTEAD}"
        )
    for stage in recipe.stages:
        if stage.pruning is not None and build_method(stage.pruning.method).num_gradients:
            raise RecipeError(
                f"stage {stage.name}: {stage.pruning.method} samples gradients of whole weights, which FSDP2 "
                f"spreads over the processes: {_INSTEAD}"
            )


def _asked(variable: str) -> bool:
    return bool(str_to_bool(os.environ.get(variable, "false")))


@contextmanager
def grouped_by_layers(model: nn.Module, plugin: Any) -> Iterator[None]:
    """Let accelerate shard each layer by itself, and all that is around the layers together.

    It would give the word embeddings and the decoder that is tied to them a group of their own. But the bias
    of a masked-LM head is tied too, between decoder and head, and torch refuses a parameter in two groups.

    Args:
        model: to be sharded inside the block.
        plugin: accelerate's ``FullyShardedDataParallelPlugin``.
    """
    # torch warns, where a model returns a view, of operations in place on it; nothing here does such.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    plugin.transformer_cls_names_to_wrap = [type(layer_stack(base_model(model)).layer[0]).__name__]
    hidden = {name: lambda: None for name in ("get_input_embeddings", "get_output_embeddings")}
    model.__dict__.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del model.__dict__[name]
    for lock in locks(model):
        lock.follow()  # it would by itself, but after the first step's gradients were clipped


def gathered(sharded: nn.Module, fresh: PreTrainedModel) -> PreTrainedModel:
    """Return ``fresh`` with the weights and the pattern lock of a sharded model, whole on every process.

    Args:
        sharded: every process must ask.
        fresh: of the same architecture; it goes to the same device.
    """
    fresh.to(next(sharded.parameters()).device)  # type: ignore[arg-type]
    fresh.load_state_dict({name: whole(tensor) for name, tensor in sharded.state_dict().items()})
    masks = PatternLock.masks(sharded)
    if masks:
        PatternLock.lock(fresh, masks)
    return fresh
