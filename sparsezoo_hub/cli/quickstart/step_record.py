"""Steps that are measured, and kept when they are finished."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
from pydantic import BaseModel, ConfigDict

from sparsezoo_hub.training.whole_text import write_text

_SECONDS_BETWEEN_SAMPLES = 0.05


class StepRecord(BaseModel):
    """A finished step: what it took and what came of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seconds: float
    peak_memory_mb: float
    result: dict[str, Any]


class PeakMemory:
    """Samples the resident memory of this process and its children, in MB (10^6 bytes).

    Pages that processes share are counted once for each, so the figure is an upper bound.
    """

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self.peak_mb = max(self.peak_mb, _resident_mb(process))
            if self._done.wait(_SECONDS_BETWEEN_SAMPLES):
                return


def finished_step(folder: Path, name: str, work: Callable[[], dict[str, Any]]) -> StepRecord:
    """Return the record of a step, from its file if it is finished, else by doing the work now."""
    path = folder / f"{name}.json"
    if path.exists():
        return StepRecord.model_validate_json(path.read_text())
    began = time.monotonic()
    with PeakMemory() as memory:
        result = work()
    record = StepRecord(
        name=name,
        seconds=round(time.monotonic() - began, 1),
        peak_memory_mb=round(memory.peak_mb),
        result=result,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, record.model_dump_json(indent=2))
    return record


def _resident_mb(process: psutil.Process) -> float:
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:  # it ended between the two calls
            continue
    return total / 1e6
