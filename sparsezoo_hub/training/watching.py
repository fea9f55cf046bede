"""Watching: who is told how a run goes, and what they are told when a stage begins and ends."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback

from sparsezoo_hub.core.masks import sparsity_of
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.errors import LossError, SparseZooError
from sparsezoo_hub.training.meter import Meter
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.progress import ProgressCallback, Watcher
from sparsezoo_hub.training.pruner import Pruner
from sparsezoo_hub.training.reporters import reporters
from sparsezoo_hub.training.run_log import RunLog, RunLogCallback
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stop_signals import Interrupted


@dataclass(frozen=True)
class Watch:
    """Who watches a run.

    Args:
        recipe: the run's.
        folder: the run's.
        watcher: is told about progress.
        tell: is told, a line at a time, what a stage begins with.
        log: the run's.
    """

    recipe: Recipe
    folder: Path
    watcher: Watcher
    tell: Callable[[str], None]
    log: RunLog


class StageWatch:
    """What watches one stage with one seed.

    Args:
        watch: who does.
        label: the stage, as it is called to people.
        stage: in optimizer steps.
        seed: one of the stage's.
        step: that training goes on from, 0 from the beginning.
    """

    def __init__(self, watch: Watch, label: str, stage: Stage, seed: int, step: int) -> None:
        self.watch = watch
        self.label = label
        self.stage = stage
        self.step = step
        self.log = watch.log.of_stage(stage.name, seed)
        self.name = f"{watch.recipe.name}/{stage.name}/seed-{seed}"
        names = [each.name for each in watch.recipe.stages]
        self.place = names.index(stage.name) + 1, len(names)

    def callbacks(
        self, meter: Meter, pruner: Pruner | None, seconds: Callable[[], float], options: RunOptions
    ) -> list[TrainerCallback]:
        """Return what the Trainer calls: after the callbacks that change the model and write checkpoints.

        Args:
            meter: of the stage.
            pruner: of the stage, restored from its checkpoint.
            seconds: returns how long the stage has been trained.
            options: of the run, for its reporters.
        """
        is_main = process_state().is_main_process
        return [
            RunLogCallback(self.log, pruner, seconds),
            ProgressCallback(self.label, self.place, self.watch.watcher, meter),
            *reporters(options.report_to, self.watch.folder, self.name, self.step, is_main),
        ]

    @contextlib.contextmanager
    def recorded(self, num_rows: int | None, options: RunOptions) -> Iterator[None]:
        """Say and log how the stage begins, and log how it is stopped if it is.

        Args:
            num_rows: of the training data, None if it is read as it comes.
            options: of the run.
        """
        precision = "bf16" if options.bf16 else "float32"
        processes = process_state().num_processes
        self.log.event(
            "stage resumed" if self.step else "stage started",
            step=self.step,
            total=int(self.stage.length),
            data=self.stage.data,
            rows=num_rows,
            max_length=self.stage.max_length,
            batch_size=self.stage.batch_size,
            processes=processes,
            precision=precision,
        )
        if process_state().is_main_process:
            number, count = self.place
            rows = "rows as they come" if num_rows is None else f"{num_rows:,} rows"
            self.watch.tell(
                f"stage {number} of {count} {self.label}: {rows} of up to {self.stage.max_length} tokens "
                f"from {self.stage.data}, {int(self.stage.length):,} steps of {self.stage.batch_size:,} "
                f"rows, {processes} process{'es' if processes > 1 else ''}, {precision}"
                + (f", goes on from step {self.step:,}" if self.step else "")
            )
        try:
            yield
        except BaseException as error:
            # A disk that is full takes no line about it either; the error itself counts.
            with contextlib.suppress(SparseZooError):
                self.log.event(_ending(error), message=_one_line(error))
            raise

    def finished(self, step: int, **fields: Any) -> None:
        """Log that the stage has come to its end.

        Args:
            step: optimizer steps done.
            fields: what it came to.
        """
        self.log.event("stage finished", step=step, **fields)


def current_sparsity(model: nn.Module, pruner: Pruner | None) -> Callable[[], float | None]:
    """Return what returns the sparsity of the pruned or locked weights as it is then; None without any."""
    if pruner is not None:
        return lambda: pruner.sparsity
    masks = PatternLock.masks(model)
    locked = sparsity_of(masks) if masks else None
    return lambda: locked


def _ending(error: BaseException) -> str:
    if isinstance(error, LossError):
        return "stopped by the loss guard"
    return "interrupted" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "message", error)).split())
    return text if isinstance(error, (SparseZooError, Interrupted)) else f"{type(error).__name__}: {text}"
