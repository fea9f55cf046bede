"""accelerate's own FSDP2 path, in each of several processes.

On CPU accelerate never takes this path (``AcceleratorState`` looks at an FSDP plugin only where the
distributed type is that of an accelerator), so its type is set by hand; all that follows is its own code.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from lock_case import OPTIMIZERS, Contract, batch, break_lock, locked_model
from torch.distributed.tensor import DTensor

from sparsezoo_hub import PatternLock
from sparsezoo_hub.core.masks import mask_digest

HEAD = "sequence"  # torch refuses to shard the masked-LM head's tied bias as accelerate groups it


def accelerator(efficient: bool) -> Accelerator:
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        cpu_ram_efficient_loading=efficient,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["BertLayer"],
    )
    made = Accelerator(cpu=True, fsdp_plugin=plugin)
    asked = made.distributed_type
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    made.state.distributed_type = DistributedType.FSDP
    made.state.fsdp_plugin = plugin
    assert made.is_fsdp2
    made.type_without_force = asked.value
    return made


def outcome(folder: Path, efficient: bool, broken: bool) -> dict[str, Any]:
    made = accelerator(efficient)
    model = locked_model(HEAD)
    contract = Contract(model)
    digest = mask_digest(PatternLock.masks(model))
    wrapped, optimizer = made.prepare(model, OPTIMIZERS["adamw-foreach"](model.parameters()))
    torch.manual_seed(dist.get_rank())  # each process has its own examples
    with pytest.MonkeyPatch.context() as patch:
        if broken:
            break_lock(wrapped, patch)
        for _ in range(3):
            made.backward(wrapped(**batch(HEAD)).loss)
            optimizer.step()
            optimizer.zero_grad()
    sharded = all(isinstance(weight, DTensor) for weight in wrapped.parameters())
    state = made.get_state_dict(wrapped)  # whole, and on the first process only
    found = {
        "type_without_force": made.type_without_force,
        "sharded": sharded,
        "same_digest": mask_digest(PatternLock.masks(wrapped)) == digest,
        "gathered": len(state),
    }
    if state:
        weights = {name.removeprefix("bert."): weight for name, weight in state.items()}
        found |= contract.findings(weights)
        made.unwrap_model(wrapped).save_pretrained(folder, state_dict=state)
    PatternLock.unlock(wrapped)
    AcceleratorState._reset_state(reset_partial_state=True)
    return found


def outcomes(folder: Path) -> dict[str, Any]:
    found = {}
    for efficient in (False, True):
        for broken in (False, True):
            name = ("efficient" if efficient else "plain") + ("-broken" if broken else "")
            found[name] = outcome(folder / name, efficient, broken)
    return found
