"""Lineage: the recipe of a package, and which of its stages made the packaged model."""

from collections.abc import Sequence
from pathlib import Path

from sparsezoo_hub.core.recipe import Pruning, Recipe, Stage
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.layout import RECIPE


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of the package in ``folder``.

    Raises:
        PackageError: if the file cannot be read as text.
        RecipeError: if the recipe has problems.
    """
    path = folder / RECIPE
    try:
        return parse_recipe(path.read_bytes().decode(), str(path))
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}; fetch or package it again") from None
    except UnicodeDecodeError as error:
        raise PackageError(f"{path} is not UTF-8 text: {error}; fetch or package it again") from None


def ancestors(recipe: Recipe) -> list[Stage]:
    """Return the stages from the backbone to the packaged one, in order."""
    stages = {stage.name: stage for stage in recipe.stages}
    line: list[Stage] = []
    name = recipe.package
    while name in stages:
        line.insert(0, stages[name])
        name = stages[name].model
    return line


def contributing_stages(recipe: Recipe) -> list[Stage]:
    """Return every stage that the packaged model depends on, teachers included, in the recipe's order."""
    stages = {stage.name: stage for stage in recipe.stages}
    needed: set[str] = set()
    open_names = [recipe.package]
    while open_names:
        name = open_names.pop()
        if name in stages and name not in needed:
            needed.add(name)
            open_names += [each for each in (stages[name].model, stages[name].teacher) if each is not None]
    return [stage for stage in recipe.stages if stage.name in needed]


def last_pruning(line: Sequence[Stage]) -> Pruning | None:
    """Return the pruning that set the final pattern, None if no stage of ``line`` prunes."""
    return next((stage.pruning for stage in reversed(line) if stage.pruning is not None), None)


def distilling_teacher(line: Sequence[Stage]) -> str | None:
    """Return the teacher of the last stage of ``line`` that has one."""
    return next((stage.teacher for stage in reversed(line) if stage.teacher is not None), None)
