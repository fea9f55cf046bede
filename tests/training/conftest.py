"""One finished run for the whole session, on one thread."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from run_case import STAGES, tiny_recipe, write_texts

from sparsezoo_hub.training.run import RecipeRun


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    # On models this small, threads wait for each other more than they compute, above all on busy cores.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def finished_run(texts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> RecipeRun:
    """A run with all of its stages done; no test may change its folder."""
    run = RecipeRun(tiny_recipe(), tmp_path_factory.mktemp("finished") / "run", text=texts)
    run.make_backbone()
    for name in STAGES:
        run.run_stage(name)
    return run


@pytest.fixture
def copied(finished_run: RecipeRun, tmp_path: Path) -> Path:
    """The finished run's folder, to change."""
    return Path(shutil.copytree(finished_run.out, tmp_path / "run"))
