"""Runs in processes of their own, forked from one that has imported everything: to kill and to signal."""

import multiprocessing
import os
import socket
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import torch
from interrupted_case import finish, interrupt_at, started

from sparsezoo_hub.cli.app import run_verb
from sparsezoo_hub.training.stop_signals import interruptible

Inputs = tuple[list[Path], Path]
_IMPORTED = ["sparsezoo_hub.training.run", "sparsezoo_hub.cli.app", "transformers.trainer"]


class Strike(NamedTuple):
    """A signal to a process while it reads a stage's row; 9 kills."""

    rank: int
    stage: str
    row: int
    number: int


def launch(
    out: Path, inputs: Inputs, every: int, processes: int = 1, strike: Strike | None = None
) -> list[BaseProcess]:
    """Start a run, as torchrun would if there are several processes; ``OUT-RANK.said`` has what each says."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    launched = []
    for rank in range(processes):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        environment = {name: str(value) for name, value in place.items()} if processes > 1 else {}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
        own = strike if strike is not None and strike.rank == rank else None
        process = context.Process(target=_train, args=(out, inputs, every, said(out, rank), environment, own))
        process.start()
        launched.append(process)
    return launched


def said(out: Path, rank: int = 0) -> Path:
    """Where a process's words go."""
    return out.with_name(f"{out.name}-{rank}.said")


def ended(processes: list[BaseProcess], seconds: float = 120) -> list[int | None]:
    """Exit codes, negative for a signal; None of a process that lived on and had to be killed."""
    end = time.monotonic() + seconds
    for each in processes:
        each.join(max(0.0, end - time.monotonic()))
    codes = [each.exitcode for each in processes]
    for each in processes:
        each.kill()
        each.join()
    return codes


def _train(
    out: Path, inputs: Inputs, every: int, words: Path, environment: dict[str, str], strike: Strike | None
) -> None:
    with words.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    torch.set_num_threads(1)

    def train() -> None:
        with interruptible():
            run = started(out, inputs, every)
            if strike is not None:
                interrupt_at(run, strike.stage, strike.row, lambda: os.kill(os.getpid(), strike.number))
            finish(run)

    run_verb(train)
