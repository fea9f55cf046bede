"""Finished runs for the whole session."""

import shutil
from pathlib import Path

import pytest
from interrupted_case import finish, started, write_inputs
from run_case import STAGES, tiny_recipe, write_texts
from shared_folder import made_once, shared_folder

from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stage_data import EVERY


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    # At one place for all workers: a run says where its text was.
    return sorted(made_once(tmp_path_factory, "texts", write_texts).iterdir())


@pytest.fixture(scope="session")
def finished_run(texts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> RecipeRun:
    """A run with all of its stages done; no test may change its folder."""

    def finished(folder: Path) -> RecipeRun:
        run = RecipeRun(tiny_recipe(), folder, text={EVERY: texts})
        run.make_parents()
        for name in STAGES:
            run.run_stage(name)  # made once, found afterwards
        return run

    return finished(shared_folder(tmp_path_factory, "finished-run", finished))


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """Texts and tasks of the run with everything."""
    made = made_once(tmp_path_factory, "inputs", write_inputs)
    return [made / "text.jsonl"], made / "tasks"


@pytest.fixture(scope="session")
def whole(inputs: tuple[list[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> RecipeRun:
    """The run with everything, never interrupted; no test may change its folder."""

    def finished(folder: Path) -> RecipeRun:
        run = started(folder, inputs, every=1000)
        finish(run)  # made once, found afterwards
        return run

    return finished(shared_folder(tmp_path_factory, "whole", finished))


@pytest.fixture
def copied(finished_run: RecipeRun, tmp_path: Path) -> Path:
    """The finished run's folder, to change."""
    return Path(shutil.copytree(finished_run.out, tmp_path / "run"))
