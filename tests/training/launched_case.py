"""Runs in processes of their own: to kill and to signal."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from forked_processes import forked, ranks
from interrupted_case import finish, interrupt_at, started

from sparsezoo_hub.cli.app import run_verb
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stop_signals import interruptible

Inputs = tuple[list[Path], Path]


class Strike(NamedTuple):
    """A signal to a process while it reads a stage's row; 9 kills."""

    rank: int
    stage: str
    row: int
    number: int


def launch(
    out: Path, inputs: Inputs, every: int, processes: int = 1, strike: Strike | None = None
) -> list[BaseProcess]:
    """Start the run with everything, as torchrun would if there are several processes."""
    return launch_run(partial(started, out, inputs, every), out, processes, strike)


def launch_run(
    make: Callable[[], RecipeRun],
    out: Path,
    processes: int = 1,
    strike: Strike | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[BaseProcess]:
    """Start a run's stages without its package.

    Args:
        make: the run, not yet begun; can be pickled.
        out: the run's folder; ``OUT-RANK.said`` has what each process says.
        processes: so many train together.
        strike: what happens to one of them.
        environment: of each, beside what torchrun tells it.
    """
    return [
        forked(said(out, rank), _train, make, own, environment=place | dict(environment or {}))
        for rank, place in enumerate(ranks(processes))
        for own in [strike if strike is not None and strike.rank == rank else None]
    ]


def said(out: Path, rank: int = 0) -> Path:
    """Where a process's standard output goes."""
    return out.with_name(f"{out.name}-{rank}.said")


def _train(make: Callable[[], RecipeRun], strike: Strike | None) -> None:
    def train() -> None:
        with interruptible():
            run = make()
            if strike is not None:
                interrupt_at(run, strike.stage, strike.row, lambda: os.kill(os.getpid(), strike.number))
            finish(run)

    run_verb(train)
