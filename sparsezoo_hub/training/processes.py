"""Processes: which of those that were launched together this one is."""

import os

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import str_to_bool
from torch import Tensor

# What keeps a GPU busy: each tokenizes some megabytes of text a second.
_WORKERS = 4


def on_cpu() -> bool:
    """Return whether training runs on the CPU: it is all there is, or ``accelerate launch --cpu`` says so."""
    asked = bool(str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false")))
    return asked or not torch.accelerator.is_available()


def data_workers(asked: int | None) -> int:
    """Return how many processes read streamed text for this one: what is asked for, else 4 beside a GPU."""
    if asked is not None:
        return asked
    return 0 if on_cpu() else _WORKERS


def process_state() -> PartialState:
    """Return this process's place among those that accelerate or torchrun started.

    accelerate finds several processes on CPUs only when it is told about the CPU at its first call; without
    that, each would take itself for the main one and write over the others' files.
    """
    return PartialState(cpu=on_cpu())


def largest(values: Tensor) -> Tensor:
    """Return the largest of all processes' values, entry by entry; ``values`` has them too."""
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return values
