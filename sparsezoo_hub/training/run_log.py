"""Run log: what happens in a run, a JSON object a line, for other programs to read and plot."""

import errno
import json
import math
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sparsezoo_hub.errors import write_errors
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.pruner import Pruner

LOG = "log.jsonl"
# Longer than any line.
_TAIL = 1 << 16
_LOGGED = ("loss", "grad_norm", "learning_rate", "sparsity", "tokens", "tokens_per_second")


class RunLog:
    """A file that events are appended to, by the main process; other processes write nothing.

    A line is written whole, with one call. A line that a killed process has left torn is cut off before the
    first one is written.

    Args:
        path: of the file; it is made with its first line.
        common: fields that every line has.
    """

    def __init__(self, path: Path, common: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.common = dict(common or {})
        self._is_mended = False

    def of_stage(self, stage: str, seed: int) -> "RunLog":
        """Return the same log for the events of one stage with one seed."""
        return RunLog(self.path, {**self.common, "stage": stage, "seed": seed})

    def event(self, name: str, **fields: Any) -> None:
        """Append a line: the time (UTC, ISO 8601), the event and its fields.

        Args:
            name: of the event.
            fields: what JSON can say; a number that is not finite becomes null.

        Raises:
            PackageError: if the file cannot be written.
        """
        if not process_state().is_main_process:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        content = {"time": time, "event": name, **self.common, **fields}
        line = json.dumps({key: _finite(value) for key, value in content.items()}, allow_nan=False)
        with write_errors(self.path):
            self._mend()
            with self.path.open("ab", buffering=0) as file:
                data = f"{line}\n".encode()
                if file.write(data) != len(data):  # a disk that is full takes what fits
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _mend(self) -> None:
        if self._is_mended:
            return
        self._is_mended = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)


class RunLogCallback(TrainerCallback):
    """Writes what the Trainer logs, and what happens at its steps, into a run's log.

    Args:
        log: of the stage.
        pruner: whose mask updates are noted, if the stage prunes.
        seconds: returns how long the stage has been trained, those before an interruption included.
    """

    def __init__(self, log: RunLog, pruner: Pruner | None, seconds: Callable[[], float]) -> None:
        self.log = log
        self.pruner = pruner
        self.seconds = seconds
        # What a checkpoint restores is no update of this start.
        self._reached = {} if pruner is None else dict(pruner.reached)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note an update before the first step."""
        del args, control, kwargs
        self._note_update(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note an update after this step."""
        del args, control, kwargs
        self._note_update(state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write where the stage stands."""
        del args, control
        logs = kwargs["logs"]
        if "loss" in logs:
            self.log.event(
                "step",
                step=state.global_step,
                total=state.max_steps,
                **{name: logs[name] for name in _LOGGED if name in logs},
                seconds=round(self.seconds(), 2),
            )

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note a checkpoint, once it is complete."""
        del args, control, kwargs
        self.log.event("checkpoint written", step=state.global_step)

    def _note_update(self, step: int) -> None:
        if self.pruner is not None and self.pruner.reached != self._reached:
            self._reached = dict(self.pruner.reached)
            self.log.event("masks updated", step=step, sparsity=self.pruner.sparsity)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
