"""The pattern lock: pruned weights stay exactly 0.0 under any optimizer (Prune OFA, appendix B).

A locked weight carries its mask. Its gradient is masked as soon as it is accumulated (equation 5), and a
hook that torch runs after every optimizer's step puts the zeros back, so that momentum or weight decay
from before the lock cannot revive a weight. The user's training loop takes no part in it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from sparsezoo_hub.core.masks import mask_digest, sparsity_of
from sparsezoo_hub.core.targets import base_model, linear_modules
from sparsezoo_hub.errors import LockError, MaskError

QUANT_METHOD = "pattern_lock"
# A locked parameter carries where it is pruned (the mask's complement: masked_fill_ then leaves +0.0 and
# clears nan, which a product with the mask would not), and the handle of its gradient hook.
_PRUNED = "pattern_pruned"
_HANDLE = "_pattern_hook"
_optimizer_hook: Any = None  # one for the process, installed by the first lock


class PatternLock:
    """Locks, inspects and releases the sparsity pattern of a model."""

    @staticmethod
    def prune(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        """Zero what ``masks`` prune and hold it there; ``lock`` makes the pattern final.

        Args:
            model: the model to prune in place.
            masks: bool, True = kept, by component name (see ``core.targets``), each of its weight's shape.

        Raises:
            MaskError: if a name or a shape does not fit the model.
        """
        weights = _weights(model, masks)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.masked_fill_(~masks[name].to(weight.device), 0)
        _hold(model, weights, masks)

    @staticmethod
    def lock(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        """Lock the zeros that are in place; masks of an earlier lock are replaced.

        The configuration of a transformers model gets the ``pattern_lock`` block, so that
        ``save_pretrained`` keeps the promise and ``from_pretrained`` locks again.

        Args:
            model: the model, whose weights are 0.0 wherever the masks are False.
            masks: bool, True = kept, by component name, each of its weight's shape.

        Raises:
            MaskError: if a name or a shape does not fit, or a weight under a False is not zero.
        """
        weights = _weights(model, masks)
        revived = _revived(weights, masks)
        if revived:
            name, count = next(iter(revived.items()))
            raise MaskError(
                f"masks and zeros disagree in {len(revived)} of {len(masks)} weights: {name} has {count} "
                "nonzero values where the mask says pruned; use PatternLock.prune to zero them"
            )
        _hold(model, weights, masks)
        config = getattr(base_model(model), "config", None)
        if config is not None:
            config.quantization_config = lock_block(masks)

    @staticmethod
    def lock_from_zeros(model: nn.Module) -> dict[str, Tensor]:
        """Lock every Linear weight of the base model that has zeros, and return the masks (equation 4).

        Raises:
            LockError: if no weight has a zero.
        """
        masks = masks_from_zeros(model)
        if not masks:
            raise LockError("no Linear weight of this model has a zero: there is no pattern to lock")
        PatternLock.lock(model, masks)
        return masks

    @staticmethod
    def unlock(model: nn.Module) -> None:
        """Release every weight; the zeros stay where they are until something trains them."""
        for module in linear_modules(model).values():
            _release(module.weight)
        config = getattr(base_model(model), "config", None)
        if config is not None and hasattr(config, "quantization_config"):
            del config.quantization_config

    @staticmethod
    def masks(model: nn.Module) -> dict[str, Tensor]:
        """Return the masks of the locked weights by component name; empty without a lock."""
        return {
            name: ~getattr(module.weight, _PRUNED)
            for name, module in linear_modules(model).items()
            if hasattr(module.weight, _PRUNED)
        }

    @staticmethod
    def revived(model: nn.Module) -> int:
        """Return how many locked zeros are not 0.0, counted over every locked weight."""
        masks = PatternLock.masks(model)
        return sum(_revived(_weights(model, masks), masks).values())


def is_locked(model: nn.Module) -> bool:
    """Return whether any weight of the model is locked."""
    return bool(PatternLock.masks(model))


def masks_from_zeros(model: nn.Module) -> dict[str, Tensor]:
    """Return ``weight != 0`` for every Linear weight of the base model that has a zero (equation 4)."""
    masks = {name: module.weight.detach() != 0 for name, module in linear_modules(model).items()}
    return {name: mask for name, mask in masks.items() if not mask.all()}


def lock_block(masks: Mapping[str, Tensor]) -> dict[str, str | float]:
    """Return the block that ``config.json`` carries under ``quantization_config``."""
    return {
        "quant_method": QUANT_METHOD,
        "sparsity": round(sparsity_of(masks), 6),
        "mask_digest": mask_digest(masks),
    }


def _weights(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    modules = linear_modules(model)
    unknown = [name for name in masks if name not in modules]
    if unknown:
        raise MaskError(f"{len(unknown)} masks fit no Linear weight of the model, the first is {unknown[0]}")
    for name, mask in masks.items():
        if mask.shape != modules[name].weight.shape or mask.dtype != torch.bool:
            raise MaskError(
                f"{name} is a weight of shape {tuple(modules[name].weight.shape)}, "
                f"its mask is {tuple(mask.shape)} of {mask.dtype}; it must be bool and of the same shape"
            )
    return {name: modules[name].weight for name in masks}


def _revived(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, int]:
    counts = {
        name: int(torch.count_nonzero(weight.detach()[~masks[name].to(weight.device)]))
        for name, weight in weights.items()
    }
    return {name: count for name, count in counts.items() if count}


def _hold(model: nn.Module, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    _install_optimizer_hook()
    for name, module in linear_modules(model).items():
        if name not in masks:
            _release(module.weight)
    for name, weight in weights.items():
        _attach(weight, masks[name])


def _attach(weight: Tensor, mask: Tensor) -> None:
    setattr(weight, _PRUNED, ~mask.to(weight.device))
    if weight.requires_grad and not hasattr(weight, _HANDLE):
        hook = weight.register_post_accumulate_grad_hook(_mask_gradient)  # type: ignore[no-untyped-call]
        setattr(weight, _HANDLE, hook)


def _release(weight: Tensor) -> None:
    if hasattr(weight, _PRUNED):
        delattr(weight, _PRUNED)
    if hasattr(weight, _HANDLE):
        getattr(weight, _HANDLE).remove()
        delattr(weight, _HANDLE)


def _pruned(weight: Tensor) -> Tensor | None:
    pruned: Tensor | None = getattr(weight, _PRUNED, None)
    if pruned is not None and pruned.device != weight.device:  # the model moved since the last step
        pruned = pruned.to(weight.device)
        setattr(weight, _PRUNED, pruned)
    return pruned


def _mask_gradient(weight: Tensor) -> None:
    pruned = _pruned(weight)
    if pruned is not None and weight.grad is not None:
        weight.grad.masked_fill_(pruned, 0)


def _install_optimizer_hook() -> None:
    global _optimizer_hook  # noqa: PLW0603 - torch keeps one list of hooks for the process, and so do we
    if _optimizer_hook is None:
        _optimizer_hook = register_optimizer_step_post_hook(_restore_zeros)


@torch.no_grad()
def _restore_zeros(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            pruned = _pruned(weight)
            if pruned is not None:
                weight.masked_fill_(pruned, 0)
