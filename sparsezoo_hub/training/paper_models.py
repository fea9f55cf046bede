"""The models of the three papers, as far as there are recipes for them: upstream, and on each task."""

from collections.abc import Mapping
from dataclasses import dataclass

from sparsezoo_hub.core.lineage import ancestors, root_of
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.training.recipe_library import load_recipe, recipe_names, recipe_sparsity

_TRANSFER = "transfer"


@dataclass(frozen=True)
class Paper:
    """Where a family is described: its paper, and the places that its upstream recipes follow."""

    title: str
    url: str
    tables: str


# By the family's folder of recipes.
PAPERS: Mapping[str, Paper] = {
    "prune-ofa": Paper(
        "Prune Once for All", "https://arxiv.org/abs/2111.05754", "table 5, section 6, appendix E.2"
    ),
    "sparse-bert": Paper(
        "Sparse*BERT", "https://arxiv.org/abs/2205.12452", "section 4.3, algorithm 1, tables 2 and 3"
    ),
    "oberta": Paper("oBERTa", "https://arxiv.org/abs/2303.17612", "table 22, section 3"),
}


@dataclass(frozen=True)
class TaskModel:
    """A model that one of the family becomes on a task.

    Args:
        recipe: what makes it.
        name: of its package.
        task: of the catalogue (``sst2``).
        quantized: whether it is trained for int8.
    """

    recipe: str
    name: str
    task: str
    quantized: bool


@dataclass(frozen=True)
class PaperModel:
    """An upstream model of a family.

    Args:
        family: one of ``PAPERS``.
        recipe: what makes it.
        name: of its package.
        summary: in words.
        model_type: transformers' name of the architecture.
        starts_from: the published model at the beginning of its recipes.
        sparsity: the recipe's final one, None for a dense member.
        on_tasks: what it becomes.
    """

    family: str
    recipe: str
    name: str
    summary: str
    model_type: str
    starts_from: str
    sparsity: float | None
    on_tasks: tuple[TaskModel, ...]


def paper_models() -> list[PaperModel]:
    """Return the families' upstream models in the papers' order, each with its models on tasks."""
    names = recipe_names()
    on_tasks: dict[str, list[TaskModel]] = {}
    for name in names:
        if name.split("/")[0] == _TRANSFER:
            recipe = load_recipe(name)
            parent = recipe.parents[root_of(recipe, recipe.package)].recipe
            if parent is not None:
                on_tasks.setdefault(parent, []).append(_task_model(name, recipe))
    return [
        _model(family, name, tuple(on_tasks.get(name, ())))
        for family in PAPERS
        for name in names
        if name.split("/")[0] == family
    ]


def _task_model(name: str, recipe: Recipe) -> TaskModel:
    quantized = any(stage.quantization is not None for stage in ancestors(recipe))
    return TaskModel(name, recipe.name, recipe.stage(recipe.package).data, quantized)


def _model(family: str, name: str, on_tasks: tuple[TaskModel, ...]) -> PaperModel:
    recipe = load_recipe(name)
    return PaperModel(
        family=family,
        recipe=name,
        name=recipe.name,
        summary=recipe.summary,
        model_type=recipe.parents[root_of(recipe, recipe.package)].model_type,
        starts_from=_starts_from(recipe),
        sparsity=recipe_sparsity(name),
        on_tasks=on_tasks,
    )


def _starts_from(recipe: Recipe) -> str:
    parent = recipe.parents[root_of(recipe, recipe.package)]
    if parent.recipe is not None:
        return _starts_from(load_recipe(parent.recipe))
    return parent.pretrained or f"{parent.model_type}, initialised at random"
