"""The recipes that come with the package, and those of the user."""

from functools import lru_cache
from pathlib import Path

from sparsezoo_hub.core.lineage import final_sparsity, root_of
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_source import Node, merged, read_nodes
from sparsezoo_hub.core.recipe_text import EXTENDS, TEMPLATES, VARIANTS, recipe_of
from sparsezoo_hub.errors import RecipeError

FOLDER = Path(__file__).parents[1] / "recipes"
# How recipes are started on several devices: no recipes themselves.
LAUNCHES = FOLDER / "accelerate"


def recipe_variants() -> dict[str, tuple[str, ...]]:
    """Return the variants, if any, of each recipe that comes with the package, by its name.

    A file whose name begins with ``_`` is only there to be extended.
    """
    found = {}
    for name in _file_names():
        variants = _read(FOLDER / f"{name}.yaml").content.get(VARIANTS)
        found[name] = tuple(variants.content) if variants else ()
    return found


def recipe_names() -> list[str]:
    """Return what can be loaded: ``quickstart/bert-tiny-90``, and ``transfer/squad:oberta-base-90`` each."""
    return [
        each
        for name, variants in recipe_variants().items()
        for each in ([f"{name}:{variant}" for variant in variants] if variants else [name])
    ]


def load_recipe(reference: str) -> Recipe:
    """Return a recipe.

    Args:
        reference: a YAML file, or one of ``recipe_names()``; with ``:VARIANT`` if it has variants.

    Raises:
        RecipeError: if there is no such recipe or variant, or it has problems.
    """
    path, variant = _found(reference, Path())
    return recipe_of(_resolved(path, variant, ()), reference)


def recipe_sparsity(reference: str) -> float | None:
    """Return how sparse the package of a recipe is; one that locks a parent's pattern is as sparse as that.

    Returns:
        The final sparsity, the highest if there are several; None for a dense model.
    """
    recipe = load_recipe(reference)
    parent = recipe.parents[root_of(recipe, recipe.package)]
    own = final_sparsity(recipe)
    if own is None and parent.recipe is not None and recipe.stage(recipe.package).lock:
        return recipe_sparsity(parent.recipe)
    return own


def parents_sparsities(recipe: Recipe) -> dict[str, float]:
    """Return how sparse the parents of a recipe are that another recipe makes."""
    made = {
        name: recipe_sparsity(parent.recipe)
        for name, parent in recipe.parents.items()
        if parent.recipe is not None
    }
    return {name: sparsity for name, sparsity in made.items() if sparsity is not None}


def launch_files() -> dict[str, Path]:
    """Return accelerate's configurations, and a script for Slurm, that come with the package, by name."""
    return {path.stem: path for path in sorted(LAUNCHES.iterdir(), key=lambda each: each.stem)}


def _file_names() -> list[str]:
    files = FOLDER.rglob("*.yaml")
    paths = [path for path in files if not path.name.startswith("_") and path.parent != LAUNCHES]
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in paths)


def _found(reference: str, beside: Path) -> tuple[Path, str | None]:
    """Return the file and the variant that a reference means; ``beside`` is where relative paths begin."""
    if (beside / reference).is_file():
        return beside / reference, None
    file, colon, variant = reference.rpartition(":")
    if colon and (beside / file).is_file():
        return beside / file, variant
    name, _, variant = reference.removeprefix("recipes/").partition(":")
    try:
        name = check_choice(name.removesuffix(".yaml"), _file_names(), "recipe")
    except ValueError as error:
        raise RecipeError(f"{reference} is no file, and {error}") from None
    return FOLDER / f"{name}.yaml", variant or None


def _resolved(path: Path, variant: str | None, seen: tuple[Path, ...]) -> Node:
    """Return the recipe with what it extends, and its variant, merged in."""
    if path.resolve() in seen:
        chain = " → ".join(str(each) for each in (*seen, path.resolve()))
        raise RecipeError(f"{path} extends itself: {chain}")
    node = _read(path)
    parts = dict(node.content)
    parts.pop(TEMPLATES, None)
    extends, variants = parts.pop(EXTENDS, None), parts.pop(VARIANTS, None)
    node = Node(parts, node.origin)
    if extends is not None:
        base, base_variant = _found(str(extends.plain), path.parent)
        node = merged(_resolved(base, base_variant, (*seen, path.resolve())), node)
    if variant is None and (variants is None or seen):  # a base is extended as it stands
        return node
    return _varied(path, node, {} if variants is None else variants.content, variant, (*seen, path.resolve()))


def _varied(
    path: Path, node: Node, variants: dict[str, Node], variant: str | None, seen: tuple[Path, ...]
) -> Node:
    if not variants:
        raise RecipeError(f"{path} has no variants: leave :{variant} out")
    if variant is None:
        raise RecipeError(f"{path} needs a variant, {path.stem}:NAME, choose one of: {', '.join(variants)}")
    try:
        over = variants[check_choice(variant, variants, "variant")]
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None
    named = merged(node, _whole_variant(path, variants, over, seen, (variant,)))
    if "name" not in over.content and "name" in named.content:
        name = Node(f"{named.content['name'].plain}-{variant}", over.origin)
        return Node({**named.content, "name": name}, named.origin)
    return named


def _whole_variant(
    path: Path, variants: dict[str, Node], over: Node, seen: tuple[Path, ...], chain: tuple[str, ...]
) -> Node:
    """Return a variant with what it extends: other variants of its file, or files, in their order."""
    parts = dict(over.content)
    extends = parts.pop(EXTENDS, Node([], over.origin))
    whole = Node({}, over.origin)
    for base in extends.content if isinstance(extends.content, list) else [extends]:
        name = str(base.plain)
        if name in chain:
            raise RecipeError(f"{base.origin}: variant {name} extends itself: {' → '.join((*chain, name))}")
        if name in variants:
            part = _whole_variant(path, variants, variants[name], seen, (*chain, name))
        else:
            part = _resolved(*_found(name, path.parent), seen)
        whole = merged(whole, part)
    return merged(whole, Node(parts, over.origin))


def _read(path: Path) -> Node:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    return _parsed(text, str(path))


@lru_cache(maxsize=64)
def _parsed(text: str, source: str) -> Node:
    # A file with many variants is asked for many times, and parsing is nearly all that loading one costs.
    return read_nodes(text, source)
