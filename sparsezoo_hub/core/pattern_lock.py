"""The pattern lock: pruned weights stay exactly 0.0 under any optimizer (Prune OFA, appendix B).

The gradient of a pruned weight is masked as soon as it is accumulated (equation 5), and a hook that torch
runs after every optimizer's step puts the zeros back, so that momentum or weight decay from before the lock
cannot revive a weight. The user's training loop takes no part in it. ``core.weight_lock`` has the hooks.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from sparsezoo_hub.core.masks import mask_digest, sparsity_of
from sparsezoo_hub.core.sharding import whole
from sparsezoo_hub.core.sparsity_report import ComponentSparsity, measure_sparsity, overall_sparsity
from sparsezoo_hub.core.targets import base_model, linear_modules
from sparsezoo_hub.core.weight_lock import WeightLock, guard_loading, locks, release, unguard_loading
from sparsezoo_hub.errors import LockError, MaskError

QUANT_METHOD = "pattern_lock"
_trusting_zeros: ContextVar[bool] = ContextVar("trusting_zeros", default=False)


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
        _hold(model, masks)
        for lock in locks(model):
            lock.restore_zeros()

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
        modules = _modules(model, masks)
        revived = {
            name: count
            for name, module in modules.items()
            if (count := _num_nonzero(module.weight, ~masks[name]))
        }
        if revived:
            name, count = next(iter(revived.items()))
            raise MaskError(
                f"masks and zeros disagree in {len(revived)} of {len(masks)} weights: {name} has {count} "
                "nonzero values where the mask says pruned; use PatternLock.prune to zero them"
            )
        _hold(model, masks)
        config = getattr(base_model(model), "config", None)
        if config is not None:
            config.quantization_config = lock_block(masks)

    @staticmethod
    def lock_from_zeros(model: nn.Module, min_sparsity: float = 0.0) -> list[ComponentSparsity]:
        """Lock every Linear weight of the base model that has zeros (equation 4), and return their sparsity.

        Args:
            model: of any maker, with zeros but without masks.
            min_sparsity: over the weights that have zeros, together; guards against a model whose zeros are
                an accident.

        Raises:
            LockError: if no weight has a zero, or the sparsity is below the minimum; nothing is locked.
        """
        masks = masks_from_zeros(model)
        if not masks:
            raise LockError("no Linear weight of this model has a zero: there is no pattern to lock")
        if sparsity_of(masks) < min_sparsity:
            raise LockError(
                f"{len(masks)} weights have zeros, a fraction of {sparsity_of(masks):.4f}, less than the "
                f"minimum of {min_sparsity}: this is no pruned model, or give a lower min_sparsity"
            )
        PatternLock.lock(model, masks)
        return PatternLock.report(model)

    @staticmethod
    def unlock(model: nn.Module) -> None:
        """Release every weight; the zeros stay where they are until something trains them."""
        for lock in list(locks(model)):
            release(lock.module)
        for each in (model, base_model(model)):
            unguard_loading(each)
        config = getattr(base_model(model), "config", None)
        if config is not None and hasattr(config, "quantization_config"):
            del config.quantization_config

    @staticmethod
    @contextmanager
    def editing(model: nn.Module) -> Iterator[dict[str, Tensor]]:
        """Let code change locked weights or masks; at the end the pattern is applied and locked again.

        Inside, an adapter may be merged and a state dict loaded. What they put where the pattern is pruned
        is zeroed at the end. If the block raises, the masks are those from before.

        Args:
            model: locked.

        Yields:
            The masks by component name, True = kept; assign other ones to change the pattern.

        Raises:
            LockError: if the model is not locked.
            MaskError: if the changed masks do not fit the model.
        """
        held = list(locks(model))
        if not held:
            raise LockError("this model is not locked: there is no pattern to edit")
        chosen = PatternLock.masks(model)
        masks = dict(chosen)
        for lock in held:
            lock.is_open = True
        try:
            yield masks
            _check_fit({lock.name: lock.module.weight for lock in held}, masks)
            chosen = masks
        finally:
            _replace(held, chosen)
            config = getattr(base_model(model), "config", None)
            if config is not None:
                config.quantization_config = lock_block(chosen)

    @staticmethod
    def masks(model: nn.Module) -> dict[str, Tensor]:
        """Return the masks of the locked weights by component name; empty without a lock."""
        return {lock.name: lock.mask for lock in locks(model)}

    @staticmethod
    def report(model: nn.Module) -> list[ComponentSparsity]:
        """Return the measured sparsity of every locked weight; empty without a lock."""
        return measure_sparsity({lock.name: whole(lock.weight.detach()) for lock in locks(model)})

    @staticmethod
    def revived(model: nn.Module) -> int:
        """Return how many locked zeros are not 0.0, counted over every locked weight."""
        return sum(lock.num_revived() for lock in locks(model))

    @staticmethod
    def verify(model: nn.Module) -> float:
        """Return the sparsity over the locked weights, after a look at every locked zero.

        Raises:
            LockError: if the model is not locked, or a locked zero is not 0.0; names the weights.
        """
        revived = {lock.name: count for lock in locks(model) if (count := lock.num_revived())}
        if revived:
            names = ", ".join(f"{name} ({count})" for name, count in revived.items())
            raise LockError(
                f"{sum(revived.values())} locked zeros are not zero any more: {names}; something wrote to "
                "the weights past the optimizer; put them back with `with PatternLock.editing(model): pass`"
            )
        if not is_locked(model):
            raise LockError(
                "this model is not locked: load it with from_pretrained, or call PatternLock.lock"
            )
        return overall_sparsity(PatternLock.report(model))


def is_locked(model: nn.Module) -> bool:
    """Return whether any weight of the model is locked, however the model is wrapped."""
    return next(locks(model), None) is not None


@contextmanager
def trusting_zeros() -> Iterator[None]:
    """Inside, ``from_pretrained`` takes the zeros for the pattern where they do not fit the promised masks.

    For a repository whose weights were changed after packaging, when you know why.
    """
    token = _trusting_zeros.set(True)
    try:
        yield
    finally:
        _trusting_zeros.reset(token)


def trusts_zeros() -> bool:
    """Return whether this code runs inside ``trusting_zeros``."""
    return _trusting_zeros.get()


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


def _hold(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    modules = _modules(model, masks)
    for lock in list(locks(model)):
        release(lock.module)
    for name, module in modules.items():
        WeightLock(module, name, masks[name])
    for each in (model, base_model(model)):
        guard_loading(each)


def _replace(held: list[WeightLock], masks: Mapping[str, Tensor]) -> None:
    modules = {lock.name: lock.module for lock in held}
    _check_fit({name: module.weight for name, module in modules.items()}, masks)
    for lock in held:
        release(lock.module)
    for name, mask in masks.items():
        WeightLock(modules[name], name, mask).restore_zeros()


def _modules(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, nn.Linear]:
    modules = linear_modules(model)
    _check_fit({name: module.weight for name, module in modules.items()}, masks)
    return {name: modules[name] for name in masks}


def _check_fit(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    unknown = [name for name in masks if name not in weights]
    if unknown:
        raise MaskError(f"{len(unknown)} masks fit no Linear weight of the model, the first is {unknown[0]}")
    for name, mask in masks.items():
        if mask.shape != weights[name].shape or mask.dtype != torch.bool:
            raise MaskError(
                f"{name} is a weight of shape {tuple(weights[name].shape)}, "
                f"its mask is {tuple(mask.shape)} of {mask.dtype}; it must be bool and of the same shape"
            )


def _num_nonzero(weight: Tensor, pruned: Tensor) -> int:
    return int(torch.count_nonzero(whole(weight.detach())[pruned.to(weight.device)]))
