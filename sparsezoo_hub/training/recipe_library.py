"""The recipes that come with the package, and those of the user."""

from pathlib import Path

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import RecipeError

FOLDER = Path(__file__).parents[1] / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package (``quickstart/bert-tiny-90``)."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


def load_recipe(reference: str) -> Recipe:
    """Return a recipe.

    Args:
        reference: a YAML file, or one of ``recipe_names()``.

    Raises:
        RecipeError: if there is no such recipe, or it has problems.
    """
    path = Path(reference)
    if not path.is_file():
        name = reference.removeprefix("recipes/").removesuffix(".yaml")
        try:
            path = FOLDER / f"{check_choice(name, recipe_names(), 'recipe')}.yaml"
        except ValueError as error:
            raise RecipeError(f"{reference} is no file, and {error}") from None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    return parse_recipe(text, str(path))
