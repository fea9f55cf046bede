"""Processes train locked models together, and each says what it saw."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from lock_case import OPTIMIZERS, Contract, batch, break_lock, locked_model
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.core.weight_lock import locks
from sparsezoo_hub.errors import LockError


def sharded(model: PreTrainedModel, reshard_after_forward: bool = True) -> nn.Module:
    for layer in model.bert.encoder.layer:
        fully_shard(layer, reshard_after_forward=reshard_after_forward)
    return fully_shard(model)


def accelerated(model: PreTrainedModel) -> nn.Module:
    return Accelerator(cpu=True).prepare(model)


WRAPPERS: dict[str, Callable[[PreTrainedModel], nn.Module]] = {
    "ddp": DistributedDataParallel,
    "ddp-bucket-view": lambda model: DistributedDataParallel(model, gradient_as_bucket_view=True),
    "accelerate": accelerated,
    "fsdp2": sharded,
    "fsdp2-without-reshard": lambda model: sharded(model, reshard_after_forward=False),
    "fsdp1": lambda model: FullyShardedDataParallel(model, device_id=torch.device("cpu")),
    "fsdp1-orig-params": lambda model: FullyShardedDataParallel(
        model, device_id=torch.device("cpu"), use_orig_params=True
    ),
}


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights of the encoder, on every process."""
    weights = (model.module if isinstance(model, DistributedDataParallel) else model).base_model.state_dict()
    return {
        name: weight.full_tensor() if isinstance(weight, DTensor) else weight
        for name, weight in weights.items()
    }


def train(wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.manual_seed(dist.get_rank())  # each process has its own examples
    for _ in range(3):
        wrapped(**batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def outcome(wrapper: str, optimizer: str, broken: str = "") -> dict[str, Any]:
    model = locked_model()
    contract = Contract(model)
    digest = mask_digest(PatternLock.masks(model))
    wrapped = WRAPPERS[wrapper](model)
    with pytest.MonkeyPatch.context() as patch:
        if broken:
            break_lock(model, patch)
        try:
            train(wrapped, OPTIMIZERS[optimizer](wrapped.parameters()))
        except LockError as error:
            PatternLock.unlock(model)
            return {"refused": str(error)}
    weights = gathered(wrapped)
    return {
        **contract.findings(weights),
        "is_locked": is_locked(wrapped),
        "same_digest": mask_digest(PatternLock.masks(wrapped)) == digest,
        "checksum": float(sum(weight.double().sum() for weight in weights.values())),
        "masks_sharded_like_weights": all(
            isinstance(lock.keep, DTensor)
            and lock.keep.placements == lock.module.weight.placements
            and lock.keep.to_local().shape == lock.module.weight.to_local().shape
            for lock in locks(wrapped)
        ),
        "revived_after_evaluation": None if broken else after_evaluation(wrapped),
    }


def after_evaluation(wrapped: nn.Module) -> int:
    """Without resharding, FSDP2 leaves weights gathered after a forward pass without a backward pass."""
    with torch.no_grad():
        wrapped(**batch())
    return PatternLock.revived(wrapped)


def outcomes(*cases: str) -> dict[str, Any]:
    """By case: ``WRAPPER:OPTIMIZER`` or ``WRAPPER:OPTIMIZER:broken``."""
    return {case: outcome(*case.split(":")) for case in cases}
