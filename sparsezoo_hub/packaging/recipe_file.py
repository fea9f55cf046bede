"""The recipe's file in a package."""

from pathlib import Path

from sparsezoo_hub.core.recipe import Recipe
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
