"""Progress of stages, as bars on a terminal and as lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sparsezoo_hub.cli.console import console
from sparsezoo_hub.training.progress import Progress as StageProgress

_SECONDS_BETWEEN_LINES = 10.0


class ProgressDisplay:
    """A watcher of stages (``training.progress.Watcher``)."""

    def __init__(self) -> None:
        self.bars = Progress(
            TextColumn("  {task.description:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}
        self.last_line = 0.0

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def __call__(self, progress: StageProgress) -> None:
        """Show where a stage stands."""
        state = _state(progress)
        if not console.is_terminal:
            now = time.monotonic()
            if progress.step == progress.total or now - self.last_line >= _SECONDS_BETWEEN_LINES:
                self.last_line = now
                console.print(f"  {progress.stage}: step {progress.step} of {progress.total}, {state}")
            return
        if progress.stage not in self.tasks:
            self.tasks[progress.stage] = self.bars.add_task(progress.stage, total=progress.total, state="")
        self.bars.update(self.tasks[progress.stage], completed=progress.step, state=state)


def _state(progress: StageProgress) -> str:
    parts = [] if progress.loss is None else [f"loss {progress.loss:.3f}"]
    if progress.sparsity is not None:
        parts.append(f"sparsity {progress.sparsity:.2f}")
    return ", ".join([*parts, f"lr {progress.learning_rate:.1e}"])
