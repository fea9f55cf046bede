"""Layer dropping: a shallower model from the layers of a deeper one (oBERTa, section 3 and table 18)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.pattern_lock import PatternLock, is_locked, lock_block
from sparsezoo_hub.core.targets import base_model, linear_modules
from sparsezoo_hub.core.weight_lock import locks, release

# Where an encoder has its layers: BERT and RoBERTa, DistilBERT.
_STACKS = ("encoder", "transformer")
_NUM_FIRST_MIDDLE_LAST = 3


def interleaved(num_layers: int, count: int) -> tuple[int, ...]:
    """Return every ``num_layers / count``-th layer from the first on: 12 to 6 keeps 0, 2, 4, 6, 8, 10.

    Args:
        num_layers: that the model has.
        count: to keep; ``num_layers`` is a multiple of it.

    Raises:
        ValueError: if ``num_layers`` is no multiple of ``count``: the gaps would differ.
    """
    if num_layers % count:
        raise ValueError(
            f"interleaved layers are equally far apart, and {num_layers} layers are no multiple of {count}; "
            "choose a count that divides them, or list the layers to keep"
        )
    return tuple(range(0, num_layers, num_layers // count))


def first_middle_last(num_layers: int, count: int) -> tuple[int, ...]:
    """Return the first, the middle and the last layer: 12 to 3 keeps 0, 5, 11.

    Of the two middle layers of an even number, the paper does not say which. The lower one is kept: dropping
    lower layers costs a pre-trained encoder more accuracy (Sajjad et al., 2023).

    Args:
        num_layers: that the model has, at least 3.
        count: to keep, which is 3.

    Raises:
        ValueError: if ``count`` is not 3, or there are fewer than 3 layers.
    """
    if count != _NUM_FIRST_MIDDLE_LAST:
        raise ValueError(f"first_middle_last keeps 3 layers, got {count}; interleaved keeps other numbers")
    if num_layers < count:
        raise ValueError(f"first_middle_last needs a model of at least 3 layers, got {num_layers}")
    return 0, (num_layers - 1) // 2, num_layers - 1


LAYER_CHOICES: Mapping[str, Callable[[int, int], tuple[int, ...]]] = {
    "first_middle_last": first_middle_last,
    "interleaved": interleaved,
}


def kept_layers(num_layers: int, count: int, choice: str) -> tuple[int, ...]:
    """Return the indices of the layers to keep, ascending (oBERTa, section 3).

    Args:
        num_layers: that the model has.
        count: to keep, in [1, num_layers].
        choice: a name of ``LAYER_CHOICES``.

    Raises:
        ValueError: if the choice is unknown, or cannot keep that many of that many layers.
    """
    check_choice(choice, LAYER_CHOICES, "choice of layers")
    if not 1 <= count <= num_layers:
        raise ValueError(f"of {num_layers} layers between 1 and {num_layers} can be kept, got {count}")
    return LAYER_CHOICES[choice](num_layers, count)


def drop_layers(model: nn.Module, layers: Sequence[int]) -> None:
    """Keep these layers of the model and drop the others, in place; call it before there is an optimizer.

    The configuration follows, so that a saved model loads again. Locked weights keep their lock: their masks
    get the names of the new positions, and ``config.json`` the digest of what is left.

    Args:
        model: a transformers BERT, RoBERTa or DistilBERT, with any head.
        layers: indices to keep, ascending, each in [0, number of layers).

    Raises:
        ValueError: if there is no stack of layers, no index, or one that is out of range, repeated or out
            of order.
    """
    base = base_model(model)
    stack = layer_stack(base)
    _check_indices(layers, len(stack.layer))
    was_locked = is_locked(model)
    for index, layer in enumerate(stack.layer):
        if index not in layers:
            for lock in list(locks(layer)):
                release(lock.module)
    stack.layer = nn.ModuleList(stack.layer[index] for index in layers)
    for index, layer in enumerate(stack.layer):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # where a decoder's attention finds its cache
                module.layer_idx = index
    if hasattr(stack, "n_layers"):
        stack.n_layers = len(layers)
    config = getattr(base, "config", None)
    if config is not None:
        config.num_hidden_layers = len(layers)  # DistilBERT's attribute_map makes n_layers of it
    if was_locked:
        _rename_locks(model, config)


def layer_stack(base: nn.Module) -> Any:
    """Return the module of a base model that has its layers, as ``layer``.

    Raises:
        ValueError: if the model is none of those that keep them where BERT, RoBERTa or DistilBERT do.
    """
    for name in _STACKS:
        stack = getattr(base, name, None)
        if isinstance(stack, nn.Module) and isinstance(getattr(stack, "layer", None), nn.ModuleList):
            return stack
    raise ValueError(
        f"{type(base).__name__} has its layers neither in encoder.layer nor in transformer.layer: "
        "only those of BERT, RoBERTa and DistilBERT are known"
    )


def _check_indices(layers: Sequence[int], num_layers: int) -> None:
    if not layers:
        raise ValueError("name at least one layer to keep")
    previous = -1
    for index in layers:
        if not 0 <= index < num_layers:
            raise ValueError(f"layer {index} does not exist: the model has layers 0 to {num_layers - 1}")
        if index == previous:
            raise ValueError(f"layer {index} is named twice in {list(layers)}")
        if index < previous:
            raise ValueError(
                f"layer {index} comes after layer {previous}: list the layers in ascending order"
            )
        previous = index


def _rename_locks(model: nn.Module, config: Any) -> None:
    names = {module: name for name, module in linear_modules(model).items()}
    for lock in locks(model):
        lock.name = names[lock.module]
    if hasattr(config, "quantization_config"):
        masks = PatternLock.masks(model)
        if masks:
            config.quantization_config = lock_block(masks)
        else:
            del config.quantization_config
