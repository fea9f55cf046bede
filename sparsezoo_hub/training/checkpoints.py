"""Checkpoints: what a stage needs, beside the Trainer's own files, to go on where it was interrupted."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from sparsezoo_hub.training.checkpoint_files import (
    UNFINISHED,
    changes,
    checkpoints_in,
    complete,
    facts_of,
    fault,
    keep_newest,
    saving,
    step_of,
)
from sparsezoo_hub.training.processes import process_state

STATE = "stage_state.json"
TENSORS = "stage_state.safetensors"

logger = logging.getLogger(__name__)


class Resumable(Protocol):
    """A callback with a state of its own."""

    def state(self) -> dict[str, Any]:
        """Return what can be written as JSON."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the rest."""

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take both back."""


class Checkpoints(TrainerCallback):
    """Completes each checkpoint that the Trainer writes, and finds the one to go on from.

    The Trainer writes into ``SCRATCH/unfinished``. Here the states of the stage's callbacks are added, every
    file is listed with its digest, and the folder is moved into ``SCRATCH``: so whatever moment a process
    ends at, a checkpoint there is whole. An older one is deleted after that, never before.

    Args:
        scratch: the stage's folder of checkpoints.
        parts: by name.
    """

    def __init__(self, scratch: Path, parts: Mapping[str, Resumable]) -> None:
        self.scratch = scratch
        self.parts = parts
        self.good: list[Path] = []  # the oldest first
        self._from: dict[str, Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say what has changed since the checkpoint, and give dropout new numbers if processes have."""
        del control, kwargs
        state.save_steps = int(args.save_steps)  # the Trainer would keep to the checkpoint's
        if self._from is None:
            return
        now = facts_now(args)
        if state.is_world_process_zero and (differing := changes(self._from, now)):
            logger.warning(
                "%s was written with other settings: %s; the result can differ from an uninterrupted run's",
                self.good[-1],
                differing,
            )
        if self._from.get("processes") != now["processes"]:
            # A process that was not there has no random state in the checkpoint.
            set_seed(hash((args.seed, state.global_step, args.process_index)) % 2**32)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Complete the checkpoint."""
        del control
        tensors = self._tensors()  # in every process, as a sharded one is gathered from all
        process_state().wait_for_everyone()  # each process writes its own random state
        if state.is_world_process_zero:
            unfinished = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            with saving(self.scratch, kwargs["model"], kwargs["optimizer"]):
                save_file(tensors, unfinished / TENSORS)
                states = {part: each.state() for part, each in self.parts.items()}
                (unfinished / STATE).write_text(json.dumps(states), encoding="utf-8")
                folder = complete(unfinished, facts_now(args))
            self.good = [each for each in self.good if each != folder] + [folder]
            keep_newest(self.scratch, self.good)
        process_state().wait_for_everyone()  # none stops, or writes the next one, before it is there

    def resume(self) -> Path | None:
        """Restore the parts from the last checkpoint that is whole and return its folder; None without one.

        A checkpoint that is damaged is named in a warning. The main process looks, the others follow.
        """
        state = process_state()
        chosen: list[Any] = [self._newest_whole() if state.is_main_process else None]
        if state.num_processes > 1:
            broadcast_object_list(chosen)
        folder: Path | None = chosen[0]
        if folder is None:
            return None
        self.good = [each for each in checkpoints_in(self.scratch) if step_of(each) <= step_of(folder)]
        self._from = facts_of(folder)
        states = json.loads((folder / STATE).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
        for part, each in self.parts.items():
            prefix = f"{part}/"
            own = {
                name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)
            }
            each.restore(states[part], own)
        return folder

    def _newest_whole(self) -> Path | None:
        shutil.rmtree(self.scratch / UNFINISHED, ignore_errors=True)  # of a process that was killed
        for folder in reversed(checkpoints_in(self.scratch)):
            wrong = fault(folder)
            if wrong is None:
                return folder
            logger.warning(
                "%s is damaged (%s) and is not gone on from: the one before is taken", folder, wrong
            )
        return None

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{part}/{name}": (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).contiguous()
            for part, each in self.parts.items()
            for name, tensor in each.tensors().items()
        }


def facts_now(args: TrainingArguments) -> dict[str, Any]:
    """Return what a result depends on beside the recipe: a checkpoint records it."""
    return {
        "processes": args.world_size,
        "batch per process": args.per_device_train_batch_size,
        "accumulated batches": args.gradient_accumulation_steps,
        "precision": "bf16" if args.bf16 else "fp32",
        "device": args.device.type,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
