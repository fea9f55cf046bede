"""One finished run for the whole session."""

import shutil
from pathlib import Path

import pytest
from run_case import STAGES, tiny_recipe, write_texts

from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stage_data import EVERY


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def finished_run(texts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> RecipeRun:
    """A run with all of its stages done; no test may change its folder."""
    run = RecipeRun(tiny_recipe(), tmp_path_factory.mktemp("finished") / "run", text={EVERY: texts})
    run.make_parents()
    for name in STAGES:
        run.run_stage(name)
    return run


@pytest.fixture
def copied(finished_run: RecipeRun, tmp_path: Path) -> Path:
    """The finished run's folder, to change."""
    return Path(shutil.copytree(finished_run.out, tmp_path / "run"))
