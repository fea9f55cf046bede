"""Lineage rows: the models that a recipe starts from or learns from, for the tables of cards."""

from sparsezoo_hub.core.lineage import contributing_stages, root_of
from sparsezoo_hub.core.recipe import Parent, Recipe


def lineage_rows(recipe: Recipe) -> list[dict[str, str]]:
    """Return the parents that the packaged model depends on, teachers included, in the recipe's order.

    Args:
        recipe: as it was run, or one that was not run yet.

    Returns:
        For each its ``name``, its ``source`` in words and its ``revision``: of a model that was given in the
        place of the recipe's own, none is known.
    """
    used = {
        root_of(recipe, name)
        for stage in contributing_stages(recipe)
        for name in (stage.model, stage.teacher)
        if name is not None
    }
    given = {} if recipe.provenance is None else recipe.provenance.parents
    return [
        {
            "name": name,
            "source": given.get(name, _source(parent)),
            "revision": _revision(parent, given.get(name)),
        }
        for name, parent in recipe.parents.items()
        if name in used
    ]


def _source(parent: Parent) -> str:
    if parent.recipe is not None:
        return f"what the recipe {parent.recipe} makes"
    return parent.pretrained or f"{parent.model_type}, initialised at random"


def _revision(parent: Parent, given: str | None) -> str:
    if parent.pretrained is None or given not in (None, parent.pretrained):
        return ""
    return parent.revision or "not pinned"
