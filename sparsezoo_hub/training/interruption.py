"""Interruption: after a stop signal, all processes end after the same step, with a checkpoint."""

import functools
import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.stop_signals import Interrupted, received


class Interruption(TrainerCallback):
    """Ends training after the step that is under way when a stop signal comes (``stop_signals``).

    transformers' own (``enable_jit_checkpoint``) looks at one process alone: where a signal reaches some of
    several, or reaches them during different steps, one would write a checkpoint while the others wait for
    its gradients. Here each step ends by starting to exchange what came, between CPUs; the next one's end
    reads the answer. So nothing waits for it in between, the device is not asked, and all read the same
    answer after the same step. A single process exchanges nothing.

    Give it to the Trainer after ``Checkpoints``, which completes the checkpoint that is named.

    Args:
        label: the stage, as it is called to people.
        scratch: the stage's folder of checkpoints.
    """

    def __init__(self, label: str, scratch: Path) -> None:
        self.label = label
        self.scratch = scratch
        self.group = _cpu_group() if process_state().num_processes > 1 else None
        self._exchange: tuple[torch.Tensor, dist.Work] | None = None
        self._stopped_by = 0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a checkpoint once a signal has come anywhere."""
        del args, kwargs
        if self.group is None:
            self._stopped_by = _own()
        else:
            self._stopped_by = self._answer()
            if not self._stopped_by and state.global_step < state.max_steps:
                self._ask()
        control.should_save |= bool(self._stopped_by)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End once the checkpoint is complete.

        Raises:
            Interrupted: in every process.
        """
        del args, control, kwargs
        if self._stopped_by:
            self._end(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End here if a signal has come since: the last step's checkpoint is written.

        Raises:
            Interrupted: in every process.
        """
        del args, control, kwargs
        if self.group is None:
            return  # the end of ``deferred`` sees it
        self._answer()  # of a stage that ended early
        self._ask()
        self._stopped_by = self._answer()
        if self._stopped_by:
            self._end(state.global_step)

    def _ask(self) -> None:
        flag = torch.tensor([_own()])
        work = dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self.group, async_op=True)
        if work is not None:
            self._exchange = flag, work

    def _answer(self) -> int:
        if self._exchange is None:
            return 0
        flag, work = self._exchange
        self._exchange = None
        work.wait()
        return int(flag)

    def _end(self, step: int) -> None:
        name = signal.Signals(self._stopped_by).name
        raise Interrupted(
            f"interrupted by {name} after step {step} of stage {self.label}: the same command goes on from "
            f"{_shown(self.scratch, step)}"
        )


def _own() -> int:
    number = received()
    return 0 if number is None else int(number)


def _shown(scratch: Path, step: int) -> Path:
    """Return the checkpoint of a step, or of a stage that ended before it was due, the folder of all."""
    checkpoint = scratch / f"checkpoint-{step}"
    return checkpoint if checkpoint.exists() else scratch


@functools.cache
def _cpu_group() -> Any:
    """Return a group of all processes that talks between CPUs, whatever the devices talk by."""
    return dist.new_group(backend="gloo")
