"""Processes forked from one that has imported everything: to import takes longer than to be tested."""

import gc
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from sparsezoo_hub.cli.app import app, run_verb

# What training and packaging import when they first need it is here too.
_IMPORTED = [
    "pytest",
    "transformers.trainer",
    "transformers.models.bert.modeling_bert",
    "transformers.exporters.exporter_onnx",
    "sparsezoo_hub.cli.recipe_package",
    "sparsezoo_hub.training.run",
    "sparsezoo_hub.training.studies.runner",
]


def forked(
    said: Path,
    target: Callable[..., object],
    *arguments: object,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Start a process.

    Args:
        said: gets what it writes to standard output, and a file beside it what goes to standard error.
        target: a function of a module, called with the arguments; what it returns is forgotten.
        arguments: can be pickled.
        environment: of the process, beside this one's; what libraries read at import is read already.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    process = context.Process(target=_begin, args=(said, dict(environment or {}), target, arguments))
    process.start()
    return process


def command(*arguments: str) -> None:
    """Run ``sparsezoo-hub``: a target."""
    sys.argv = ["sparsezoo-hub", *arguments]
    run_verb(app)


def ranks(count: int) -> list[dict[str, str]]:
    """The environments of processes that train together on CPUs, as torchrun makes them."""
    if count == 1:
        return [{"ACCELERATE_USE_CPU": "true"}]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


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


def wait_until(condition: Callable[[], bool], process: BaseProcess, seconds: float = 120) -> None:
    """Wait for something that a process does before it ends."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.is_alive(), "the process ended before it got there"
        assert time.monotonic() < end, "the process did not get there in time"
        time.sleep(0.001)


def errors(said: Path) -> Path:
    """Where a process's standard error goes."""
    return said.with_name(f"{said.name}.errors")


def words(said: Path) -> str:
    """All that a process has said."""
    return "".join(path.read_text() for path in (said, errors(said)) if path.exists())


def _begin(
    said: Path, environment: dict[str, str], target: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    with said.open("a") as out, errors(said).open("a") as error:
        os.dup2(out.fileno(), 1)
        os.dup2(error.fileno(), 2)
    os.environ |= environment
    torch.set_num_threads(1)
    gc.freeze()  # accelerate collects garbage at every start: not among all that was imported
    target(*arguments)
