"""Lineage: which of a recipe's stages made the packaged model."""

from collections.abc import Sequence

from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.core.stage_settings import Pruning


def ancestors(recipe: Recipe) -> list[Stage]:
    """Return the stages from a parent to the packaged one, in order."""
    stages = {stage.name: stage for stage in recipe.stages}
    line: list[Stage] = []
    name = recipe.package
    while name in stages:
        line.insert(0, stages[name])
        name = stages[name].model
    return line


def root_of(recipe: Recipe, name: str) -> str:
    """Return the name of the parent that a stage's model comes from; a parent comes from itself."""
    while name not in recipe.parents:
        name = recipe.stage(name).model
    return name


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


def final_sparsity(recipe: Recipe) -> float | None:
    """Return how sparse the recipe's package is, the highest if it has several; None if nothing is pruned."""
    pruning = last_pruning(ancestors(recipe))
    return None if pruning is None else max(pruning.sparsities.values())
