"""Progress of stages, as bars on a terminal and as lines elsewhere."""

import itertools
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from sparsezoo_hub.cli.console import console
from sparsezoo_hub.training.progress import Progress as StageProgress

_SECONDS_BETWEEN_LINES = 10.0
_WIDE = 120
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


class ProgressDisplay:
    """A watcher of stages (``training.progress.Watcher``).

    Args:
        to: where it is shown.
    """

    def __init__(self, to: Console = console) -> None:
        self.console = to
        self.bars = Progress(
            TextColumn("  {task.description}"),
            *([BarColumn(bar_width=16)] if to.width >= _WIDE else []),
            MofNCompleteColumn(),
            # What does not fit is cut off here, at the end.
            TextColumn("{task.fields[state]}", table_column=Column(ratio=1, no_wrap=True)),
            console=to,
            disable=not to.is_terminal,
            expand=True,
        )
        self.tasks: dict[str, TaskID] = {}
        self.last_line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def __call__(self, progress: StageProgress) -> None:
        """Show where a stage stands."""
        state = _state(progress)
        if not self.console.is_terminal:
            now = time.monotonic()
            if progress.step == progress.total or now - self.last_line >= _SECONDS_BETWEEN_LINES:
                self.last_line = now
                self.console.print(
                    f"  stage {progress.number} of {progress.count} {progress.stage}: "
                    f"step {progress.step} of {progress.total}, {state}",
                    soft_wrap=True,
                )
            return
        # Only now: of several processes that share a terminal, one is told about progress.
        self.bars.start()
        if progress.stage not in self.tasks:
            name = f"{progress.number}/{progress.count} {progress.stage}"
            self.tasks[progress.stage] = self.bars.add_task(name, total=progress.total, state="")
        self.bars.update(self.tasks[progress.stage], completed=progress.step, state=state)


def human_duration(seconds: float) -> str:
    """Return ``2 h 5 min``: the largest unit that is not zero, and the one below it."""
    left = round(seconds)
    for (unit, size), (smaller, part) in itertools.pairwise(_UNITS):
        if left >= size:
            rest = left % size // part
            return f"{left // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{left} s"


def _state(progress: StageProgress) -> str:
    parts = []
    if progress.seconds_left is not None and progress.step < progress.total:
        parts.append(f"{human_duration(progress.seconds_left)} left")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.sparsity is not None:
        parts.append(f"sparsity {progress.sparsity:.2f}")
    parts.append(f"lr {progress.learning_rate:.1e}")
    if progress.tokens_per_second is not None:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    return ", ".join(parts)
