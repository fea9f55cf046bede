"""Recipes as YAML text: read with every problem reported at once, written so that they read back equal."""

from typing import Any

import yaml
from pydantic import ValidationError

from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_problems import inconsistencies, located, problem_list, schema_problem
from sparsezoo_hub.core.recipe_source import Node, read_nodes

# Keys of a recipe's file that are gone once it is read: anchors, the recipe it extends, its variants.
TEMPLATES, EXTENDS, VARIANTS = "templates", "extends", "variants"


def parse_recipe(text: str, source: str) -> Recipe:
    """Return the recipe that ``text`` holds, which extends no other.

    Args:
        text: YAML.
        source: the file's name, for messages.

    Raises:
        RecipeError: if the text is not YAML, or the recipe has problems; see ``recipe_of``.
    """
    node = read_nodes(text, source)
    return recipe_of(Node({k: v for k, v in node.content.items() if k != TEMPLATES}, node.origin), source)


def recipe_of(node: Node, source: str) -> Recipe:
    """Return the recipe of a file's nodes.

    Args:
        node: a mapping; ``templates``, ``extends`` and ``variants`` are no longer in it.
        source: the recipe's name, for messages.

    Raises:
        RecipeError: if the recipe has problems; all of them, a line each, with the file's line and their path
            (``r.yaml, line 12: $.stages[1].pruning.end: must be after start (40), got 20``).
    """
    try:
        recipe = Recipe.model_validate(node.plain)
        problems = inconsistencies(recipe)
    except ValidationError as error:
        problems = [schema_problem(each) for each in error.errors()]
    if problems:
        raise problem_list(source, located(problems, node))
    return recipe


def recipe_text(recipe: Recipe) -> str:
    """Return the YAML of a recipe; ``parse_recipe`` reads it back equal."""
    content = recipe.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe's file, for editors.

    A recipe that extends another may leave out whatever that one has; one with variants, what each of them
    has.
    """
    strict = Recipe.model_json_schema()
    definitions = strict.pop("$defs")
    relaxed = {f"Partial{name}": _relaxed(each) for name, each in definitions.items()}
    text = {"type": "string"}
    additions = {
        EXTENDS: {**text, "description": "The recipe whose parts this one takes over."},
        VARIANTS: {"type": "object", "additionalProperties": {"$ref": "#/$defs/Variant"}},
        TEMPLATES: {"type": "object", "description": "A place for YAML anchors."},
    }
    strict["properties"].update({key: additions[key] for key in (VARIANTS, TEMPLATES)})
    partial = _relaxed(strict)
    partial["properties"] = {**partial["properties"], **additions}
    bases = {
        "description": "Variants of this file, or recipes, whose parts this variant takes over, in order.",
        "anyOf": [text, {"type": "array", "items": text}],
    }
    variant = {**partial, "properties": {**partial["properties"], EXTENDS: bases}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe of sparsezoo_hub",
        "$defs": {**definitions, **relaxed, "Recipe": strict, "PartialRecipe": partial, "Variant": variant},
        "if": {"anyOf": [{"required": [EXTENDS]}, {"required": [VARIANTS]}]},
        "then": {"$ref": "#/$defs/PartialRecipe"},
        "else": {"$ref": "#/$defs/Recipe"},
    }


def _relaxed(schema: Any) -> Any:
    """Return the schema with nothing required, its references to definitions likewise."""
    if isinstance(schema, dict):
        kept = {key: _relaxed(value) for key, value in schema.items() if key not in ("required", "default")}
        if "$ref" in kept:
            kept["$ref"] = kept["$ref"].replace("#/$defs/", "#/$defs/Partial")
        if "discriminator" in kept:  # kind may be left out too
            del kept["discriminator"]
            kept["anyOf"] = kept.pop("oneOf")
        return kept
    return [_relaxed(each) for each in schema] if isinstance(schema, list) else schema
