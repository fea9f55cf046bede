"""The recipe of a run: one that exists, with the values that a study sets, and no more than it needs."""

from collections.abc import Mapping
from typing import Any

from sparsezoo_hub.core.lineage import contributing_stages
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_source import Node
from sparsezoo_hub.core.recipe_text import recipe_of
from sparsezoo_hub.errors import RecipeError


def with_values(recipe: Recipe, values: Mapping[str, Node], source: str) -> Recipe:
    """Return the recipe with other values, cut down to what its package depends on.

    Of the seeds of every other stage the first is enough, whose model others start from, unless that is the
    best one's.

    Args:
        recipe: to change.
        values: by their dotted place; a stage by its name.
        source: the recipe's name, for messages.

    Raises:
        RecipeError: if a place is not there, or the recipe has problems then; those of a value with its line.
    """
    root = _nodes(recipe.model_dump(mode="json", exclude_none=True), f"recipe {source}")
    for place, value in values.items():
        try:
            root = _put(root, place.split("."), value)
        except ValueError as error:
            raise RecipeError(f"{value.origin}: {place}: {error} of recipe {source}") from None
    return _needed(recipe_of(root, source))


def _nodes(value: Any, origin: str) -> Node:
    if isinstance(value, dict):
        return Node({key: _nodes(each, origin) for key, each in value.items()}, origin)
    if isinstance(value, list):
        return Node([_nodes(each, origin) for each in value], origin)
    return Node(value, origin)


def _put(node: Node, parts: list[str], value: Node) -> Node:
    """Return the node with a value at a place; mappings on the way there are made."""
    if not parts:
        return value
    if isinstance(node.content, list):
        names = [
            each.content.get("name") if isinstance(each.content, dict) else None for each in node.content
        ]
        known = [each.plain for each in names if each is not None]
        index = known.index(check_choice(parts[0], known, "stage"))
        items = list(node.content)
        items[index] = _put(items[index], parts[1:], value)
        return Node(items, node.origin)
    content = node.content if isinstance(node.content, dict) else {}
    below = content.get(parts[0], Node({}, value.origin))
    return Node({**content, parts[0]: _put(below, parts[1:], value)}, node.origin)


def _needed(recipe: Recipe) -> Recipe:
    stages = [
        stage
        if stage.name == recipe.package or stage.keep == "best"
        else stage.model_copy(update={"seeds": stage.seeds[:1]})
        for stage in contributing_stages(recipe)
    ]
    models = {name for stage in stages for name in (stage.model, stage.teacher)}
    data = {stage.data for stage in stages}
    return recipe.model_copy(
        update={
            "stages": tuple(stages),
            "parents": {name: each for name, each in recipe.parents.items() if name in models},
            "corpora": {name: each for name, each in recipe.corpora.items() if name in data},
            "tasks": {name: each for name, each in recipe.tasks.items() if name in data},
        }
    )
