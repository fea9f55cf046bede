"""``sparsezoo-hub recipes card``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import console


def card(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a name of `recipes list`; NAME:VARIANT.")],
) -> None:
    """Print the model card of a model that exists only as a recipe, and says so."""
    from sparsezoo_hub.core.lineage import root_of
    from sparsezoo_hub.packaging.recipe_card import RecipeSubject, render_recipe_card
    from sparsezoo_hub.training.recipe_library import load_recipe, recipe_names, recipe_sparsity

    loaded = load_recipe(recipe)
    names = recipe_names()
    parent = loaded.parents[root_of(loaded, loaded.package)].recipe
    # A paper speaks of the library's own recipes, and of no file that somebody gave such a name.
    is_file = Path(recipe).is_file() or recipe not in names
    upstream = loaded.stage(loaded.package).is_language_modelling
    subject = RecipeSubject(
        reference=recipe,
        recipe=loaded,
        sparsity=recipe_sparsity(recipe),
        paper_model=None if is_file else recipe if upstream else parent,
    )
    console.print(
        render_recipe_card(subject), soft_wrap=True, markup=False, highlight=False, emoji=False, end=""
    )
