import re
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import pytest

from sparsezoo_hub.core.recipe import BACKBONE, Recipe, Stage
from sparsezoo_hub.core.recipe_text import parse_recipe, recipe_text
from sparsezoo_hub.core.stage_settings import Pruning
from sparsezoo_hub.core.stage_windows import in_steps
from sparsezoo_hub.training.recipe_library import FOLDER, load_recipe, recipe_names
from sparsezoo_hub.training.tasks import TASKS

NAMES = recipe_names()
PAPERS = ("finetune-pruning", "oberta", "prune-ofa", "sparse-bert", "transfer")
PAPER_FILES = sorted(path for folder in PAPERS for path in (FOLDER / folder).glob("*.yaml"))
NUMBER = re.compile(r"[:\[,] *-?\d[\d.]*(e-?\d+)? *([\]},]|$)")


@cache
def loaded(name: str) -> Recipe:
    return load_recipe(name)


def final_sparsity(recipe: Recipe, stage: Stage) -> float:
    """The sparsity of a stage's model, through the recipes that its parents come from."""
    if stage.pruning is not None:
        (sparsity,) = set(stage.pruning.sparsities.values())
        return sparsity
    if not stage.lock:
        return 0.0
    if stage.model not in recipe.parents:
        return final_sparsity(recipe, recipe.stage(stage.model))
    made_by = recipe.parents[stage.model].recipe
    assert made_by is not None, f"{recipe.name} locks the pattern of a dense model"
    parent = loaded(made_by)
    return final_sparsity(parent, parent.stage(parent.package))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_makes_the_sparsity_that_its_name_says(name: str) -> None:
    recipe = loaded(name)
    percent = re.search(r"-(\d\d)(?=-|$)", recipe.name)
    expected = int(percent.group(1)) / 100 if percent else 0.0
    assert final_sparsity(recipe, recipe.stage(recipe.package)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_reads_back_equal(name: str) -> None:
    recipe = loaded(name)
    assert parse_recipe(recipe_text(recipe), name) == recipe


@pytest.mark.parametrize("name", NAMES)
def test_parents_are_recipes_that_make_a_model_of_that_type(name: str) -> None:
    for parent in loaded(name).parents.values():
        if parent.recipe is not None:
            assert parent.recipe in NAMES
            assert loaded(parent.recipe).parents[BACKBONE].model_type == parent.model_type


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_has_its_text_or_a_task_of_its_kind(name: str) -> None:
    recipe = loaded(name)
    for stage in recipe.stages:
        if stage.is_language_modelling:
            assert stage.data in recipe.corpora
        else:
            assert TASKS[stage.data].kind == stage.objective.kind
    assert set(recipe.corpora) <= {stage.data for stage in recipe.stages}


@pytest.mark.parametrize("name", NAMES)
def test_windows_keep_their_order_in_steps(name: str) -> None:
    for written in loaded(name).stages:
        for steps_per_epoch, max_steps in product((1, 7, 100, 24_545), (None, 12)):
            stage = in_steps(written, steps_per_epoch, max_steps)
            assert stage.epochs is None
            length = written.steps or round((written.epochs or 0) * steps_per_epoch)
            assert stage.steps == min(length, max_steps or length)
            restarts = [int(restart.at) for restart in stage.learning_rate.restarts]
            assert all(before < after for before, after in pairwise([0, *restarts, stage.steps]))
            if stage.pruning is not None:
                check_pruning_steps(stage.pruning, stage.steps)


def check_pruning_steps(pruning: Pruning, steps: int) -> None:
    start, reached, end = pruning.window
    assert 0 <= start < reached <= end <= steps
    assert pruning.interval is not None
    assert pruning.interval >= 1
    assert all(point == int(point) for point in (start, reached, end, pruning.interval))


def test_recipes_have_names_of_their_own() -> None:
    names = [loaded(name).name for name in NAMES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", PAPER_FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_number_of_a_papers_recipe_says_where_it_comes_from(path: Path) -> None:
    """On its own line, on the line above, or for all variants where they begin."""
    above, unexplained = False, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("variants: #"):
            break
        value, _, comment = line.partition("#")
        if NUMBER.search(value.rstrip()) and not (comment or above or line.startswith("format:")):
            unexplained.append(line.strip())
        above = line.lstrip().startswith("#")
    assert not unexplained
