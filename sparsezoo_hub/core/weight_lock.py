"""One locked weight: where it is pruned, and the hooks that keep it there.

A lock hangs on its module and goes where the module goes: ``copy.deepcopy`` and pickling take it along and
hook the copy's own parameter. A wrapper that gives the module another parameter (FSDP2 shards it) is noticed
before the next optimizer step, and the new parameter is hooked, its mask sharded alike.
"""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from sparsezoo_hub.core.sharding import placed_like, whole
from sparsezoo_hub.errors import LockError

_ATTRIBUTE = "_pattern_lock"
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of a float
# The smallest number above 0 at half precision: a kept weight of this size is none of the zeros in any dtype.
SMALLEST_KEPT = 2.0**-24
_every_lock: "weakref.WeakSet[WeightLock]" = weakref.WeakSet()
_optimizer_hooks: list[Any] = []  # one pair for the process, installed by the first lock


class WeightLock:
    """The lock of one module's ``weight``.

    It keeps the mask as int8, every bit set where the weight is kept: 1 byte per entry. The bits a weight
    and its mask share are the weight, or exactly +0.0 whatever was there; a product with the mask would leave
    -0.0 and nan, and ``masked_fill_`` takes twice as long on a CPU.

    Args:
        module: whose weight is locked; an earlier lock of it is replaced.
        name: of the component, relative to the base model.
        mask: bool, True = kept, of the weight's shape.
    """

    def __init__(self, module: nn.Linear, name: str, mask: Tensor) -> None:
        release(module)
        self.module = module
        self.name = name
        self.weight: Tensor = module.weight
        self.keep = placed_like(-mask.to(torch.int8), self.weight)
        self.is_open = False  # inside PatternLock.editing
        self.handle: Any = None
        self._hook()
        setattr(module, _ATTRIBUTE, self)
        module.register_load_state_dict_post_hook(_check_loaded)  # type: ignore[no-untyped-call]
        module.register_state_dict_pre_hook(_keep_visible)  # type: ignore[no-untyped-call]

    @property
    def mask(self) -> Tensor:
        """Bool, True = kept, whole: gathered from every process if the weight is sharded."""
        return whole(self.keep) != 0

    def num_revived(self) -> int:
        """Return how many pruned entries are not 0.0; of this process's shard, if the weight is sharded."""
        self.follow()
        return int(torch.count_nonzero(_local(self.weight).detach()[_local(self.keep) == 0]))

    def follow(self) -> None:
        """Hook the module's parameter if it is another one than before, and go to its device.

        Raises:
            LockError: if it cannot be locked: flattened, partitioned or parametrized.
        """
        weight = self.module._parameters.get("weight")
        if weight is None or weight.shape != self.keep.shape:
            found = "none" if weight is None else f"one of shape {tuple(weight.shape)}"
            raise LockError(
                f"the pattern lock of {self.name} cannot hold: its parameter of shape "
                f"{tuple(self.keep.shape)} was replaced by {found}; use DDP or FSDP2 instead of what "
                "flattens or partitions parameters (FSDP1, DeepSpeed ZeRO-3), or call PatternLock.unlock"
            )
        if weight is not self.weight:
            if isinstance(self.weight, DTensor) and not isinstance(weight, DTensor):
                return  # what FSDP2 gathered for a forward pass; the optimizer has the sharded parameter
            self.unhook()
            self.weight = weight
            self.keep = placed_like(self.keep, weight)
        elif self.keep.device != weight.device:  # the model moved since the last step
            self.keep = self.keep.to(weight.device)
        if self.handle is None and weight.requires_grad:  # another parameter, or not frozen any more
            self._hook()
            self.mask_gradient(weight)

    def mask_gradient(self, _weight: Tensor) -> None:
        """Zero the gradient of pruned entries (equation 5)."""
        if self.weight.grad is not None:
            _clear(_local(self.weight.grad), _local(self._keep_beside(self.weight.grad)))

    @torch.no_grad()
    def restore_zeros(self) -> None:
        """Zero pruned entries."""
        _clear(_local(self.weight), _local(self._keep_beside(self.weight)))

    def unhook(self) -> None:
        """Let go of the parameter."""
        if self.handle is not None:
            self.handle.remove()
            self.handle = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "handle"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.is_open = False  # PatternLock.editing closes the original only
        self.handle = None
        self._hook()

    def _hook(self) -> None:
        _install_optimizer_hooks()
        _every_lock.add(self)
        if not self.weight.requires_grad:  # torch hooks no frozen parameter
            return
        hook = weakref.WeakMethod(self.mask_gradient)

        def mask_gradient(weight: Tensor) -> None:
            if (method := hook()) is not None:
                method(weight)

        self.handle = self.weight.register_post_accumulate_grad_hook(mask_gradient)  # type: ignore[no-untyped-call]

    def _keep_beside(self, tensor: Tensor) -> Tensor:
        if self.keep.device != tensor.device:
            self.keep = self.keep.to(tensor.device)
        return self.keep


def release(module: nn.Module) -> None:
    """Take the lock off a module; the zeros stay where they are until something trains them."""
    lock: WeightLock | None = module.__dict__.pop(_ATTRIBUTE, None)
    if lock is not None:
        lock.unhook()
        _every_lock.discard(lock)
        for hooks in (module._load_state_dict_post_hooks, module._state_dict_pre_hooks):
            for key in [key for key, hook in hooks.items() if hook in (_check_loaded, _keep_visible)]:
                del hooks[key]


def guard_loading(model: nn.Module) -> None:
    """Refuse a state dict that does not fit the locks of ``model`` before anything of it is copied."""
    unguard_loading(model)
    model.register_load_state_dict_pre_hook(_check_incoming)  # type: ignore[no-untyped-call]


def unguard_loading(model: nn.Module) -> None:
    """Take back ``guard_loading``."""
    hooks = model._load_state_dict_pre_hooks
    for key in [key for key, hook in hooks.items() if getattr(hook, "hook", None) is _check_incoming]:
        del hooks[key]


def locks(model: nn.Module) -> Iterator[WeightLock]:
    """Yield the locks of a model, however it is wrapped, in the model's order."""
    for module in model.modules():
        lock = module.__dict__.get(_ATTRIBUTE)
        if isinstance(lock, WeightLock):
            yield lock


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _clear(values: Tensor, keep: Tensor) -> None:
    """Set the bits of ``values`` to zero where those of ``keep`` are; int8 is widened with its sign."""
    values.detach().view(_INTEGERS[values.element_size()]).bitwise_and_(keep)


def _check_incoming(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_rest: Any) -> None:
    for path, child in module.named_modules(prefix=prefix.removesuffix(".")):
        lock = child.__dict__.get(_ATTRIBUTE)
        if not isinstance(lock, WeightLock) or lock.is_open:
            continue
        incoming = state_dict.get(f"{path}.weight" if path else "weight")
        # What cannot be compared entry by entry is looked at by _check_loaded, once it is in place.
        if (
            isinstance(incoming, Tensor)
            and not isinstance(incoming, DTensor)
            and not isinstance(lock.keep, DTensor)
            and not incoming.is_meta
            and incoming.shape == lock.keep.shape
        ):
            pruned = lock.keep.to(incoming.device) == 0
            _refuse(lock, int(torch.count_nonzero(incoming.detach()[pruned])))


def _check_loaded(module: nn.Module, _keys: Any) -> None:
    lock = module.__dict__.get(_ATTRIBUTE)
    if isinstance(lock, WeightLock) and not lock.is_open:
        _refuse(lock, lock.num_revived())


@torch.no_grad()
def _keep_visible(module: nn.Module, _prefix: str, _keep_vars: bool) -> None:
    """Before the weight is saved, move kept entries off zero, so that its zeros alone tell the pattern."""
    lock = module.__dict__.get(_ATTRIBUTE)
    weight = module._parameters.get("weight")
    if not isinstance(lock, WeightLock) or lock.is_open or weight is None or weight.is_meta:
        return
    if weight.shape != lock.keep.shape or isinstance(weight, DTensor) != isinstance(lock.keep, DTensor):
        return  # a wrapper's own parameter
    values = _local(weight)
    hidden = (values.abs() < SMALLEST_KEPT) & (_local(lock._keep_beside(weight)) != 0)
    if hidden.any():
        sign = torch.where(torch.signbit(values), -SMALLEST_KEPT, SMALLEST_KEPT)
        values.copy_(torch.where(hidden, sign.to(values.dtype), values))


def _refuse(lock: WeightLock, num_revived: int) -> None:
    if num_revived:
        raise LockError(
            f"{lock.name}: the state dict to be loaded has {num_revived} nonzero values where the locked "
            "pattern is pruned; load a checkpoint of the same pattern, or call PatternLock.unlock first"
        )


def _install_optimizer_hooks() -> None:
    if not _optimizer_hooks:
        _optimizer_hooks.append(register_optimizer_step_pre_hook(_before_step))
        _optimizer_hooks.append(register_optimizer_step_post_hook(_after_step))


def _before_step(_optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
    for lock in list(_every_lock):
        lock.follow()


def _after_step(optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
    stepped = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    for lock in list(_every_lock):
        if id(lock.weight) in stepped:
            lock.restore_zeros()
