"""Processes: which of those that were launched together this one is."""

import os

import torch
from accelerate import PartialState
from accelerate.utils import str_to_bool


def on_cpu() -> bool:
    """Return whether training runs on the CPU: it is all there is, or ``accelerate launch --cpu`` says so."""
    asked = bool(str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false")))
    return asked or not torch.accelerator.is_available()


def process_state() -> PartialState:
    """Return this process's place among those that accelerate or torchrun started.

    accelerate finds several processes on CPUs only when it is told about the CPU at its first call; without
    that, each would take itself for the main one and write over the others' files.
    """
    return PartialState(cpu=on_cpu())
