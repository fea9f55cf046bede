"""A folder that all workers of a test run need, and one of them makes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsezoo_hub.training.studies.file_lock import file_lock


def shared_folder(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return this worker's own copy of what ``make``, called once in all workers, left in the folder."""
    made = made_once(factory, name, make)
    return Path(shutil.copytree(made, factory.mktemp(name) / name, symlinks=True))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder as ``make``, called once in all workers, left it: the same path for all of them."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the run's; each worker has a folder in it
    made = base / "shared" / name
    with file_lock(base / "shared" / f"{name}.lock", wait=True):
        if not made.exists():
            partial = made.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(made)
    return made
