"""Checkpoints: what a stage needs, beside the Trainer's own files, to go on where it was interrupted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.training.whole_text import write_text

STATE = "stage_state.json"
TENSORS = "stage_state.safetensors"


class Resumable(Protocol):
    """A callback with a state of its own."""

    def state(self) -> dict[str, Any]:
        """Return what can be written as JSON."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the rest."""

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take both back."""


class Checkpoints(TrainerCallback):
    """Adds the states of a stage's callbacks to each checkpoint that the Trainer has written.

    The state's file is written last, so a checkpoint that has one is complete.

    Args:
        parts: by name.
    """

    def __init__(self, parts: Mapping[str, Resumable]) -> None:
        self.parts = parts

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Complete the checkpoint."""
        del control, kwargs
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        tensors = {
            f"{part}/{name}": tensor.contiguous()
            for part, each in self.parts.items()
            for name, tensor in each.tensors().items()
        }
        save_file(tensors, folder / TENSORS)
        write_text(folder / STATE, json.dumps({part: each.state() for part, each in self.parts.items()}))

    def resume(self, scratch: Path) -> Path | None:
        """Restore the parts from the last complete checkpoint and return its folder; None without one."""
        folder = last_complete(scratch)
        if folder is None:
            return None
        states = json.loads((folder / STATE).read_text())
        tensors = load_file(folder / TENSORS)
        for part, each in self.parts.items():
            prefix = f"{part}/"
            own = {
                name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)
            }
            each.restore(states[part], own)
        return folder


def step_of(checkpoint: Path | None) -> int:
    """Return how many optimizer steps had been done; 0 without a checkpoint."""
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])


def last_complete(scratch: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end."""
    if not scratch.is_dir():
        return None
    complete = [path.parent for path in scratch.glob(f"checkpoint-*/{STATE}")]
    return max(complete, key=step_of, default=None)
