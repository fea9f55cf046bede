"""Recipes as YAML text: read with every problem reported at once, written so that they read back equal."""

import difflib
import typing
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sparsezoo_hub.core.recipe import Pruning, Recipe, Stage
from sparsezoo_hub.errors import RecipeError


def parse_recipe(text: str, source: str) -> Recipe:
    """Return the recipe that ``text`` holds.

    Args:
        text: YAML.
        source: the file's name, for messages.

    Raises:
        RecipeError: if the text is not YAML, or the recipe has problems; all of them, a line each, with
            their path (``$.stages[1].pruning.end: must be after start (40), got 20``).
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{source} must hold a mapping with name, backbone and stages, got {content!r:.80}")
    content.pop("templates", None)  # a place for YAML anchors
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise _collected(source, [_problem(each) for each in error.errors()]) from None
    problems = _inconsistencies(recipe)
    if problems:
        raise _collected(source, problems)
    return recipe


def recipe_text(recipe: Recipe) -> str:
    """Return the YAML of a recipe; ``parse_recipe`` reads it back equal."""
    content = recipe.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def scaled(recipe: Recipe, max_steps: int | None) -> Recipe:
    """Return the recipe with every stage of at most ``max_steps``, its pruning windows in proportion."""
    if max_steps is None:
        return recipe
    return recipe.model_copy(
        update={"stages": tuple(_scaled_stage(each, max_steps) for each in recipe.stages)}
    )


def _scaled_stage(stage: Stage, max_steps: int) -> Stage:
    if stage.steps <= max_steps:
        return stage
    factor = max_steps / stage.steps
    update: dict[str, Any] = {"steps": max_steps}
    if stage.pruning is not None:
        start = min(int(stage.pruning.start * factor), max_steps - 1)
        policy_end = max(start + 1, round(stage.pruning.policy_end * factor))
        update["pruning"] = stage.pruning.model_copy(
            update={
                "start": start,
                "policy_end": policy_end,
                "end": max(policy_end, round(stage.pruning.end * factor)),
                "interval": max(1, round(stage.pruning.interval * factor)),
            }
        )
    return stage.model_copy(update=update)


def _inconsistencies(recipe: Recipe) -> list[str]:
    if not recipe.stages:
        return ["$.stages: a recipe needs at least one stage"]
    problems = []
    known = ["backbone"]
    for index, stage in enumerate(recipe.stages):
        path = f"$.stages[{index}]"
        for key, value in (("model", stage.model), ("teacher", stage.teacher)):
            if value is not None and value not in known:
                problems.append(f"{path}.{key}: must be an earlier stage ({', '.join(known)}), got {value!r}")
        if stage.name in known:
            problems.append(f"{path}.name: {stage.name!r} is taken by an earlier stage")
        known.append(stage.name)
        if (stage.teacher is None) != (stage.distillation is None):
            problems.append(f"{path}: teacher and distillation go together, give both or none")
        if stage.pruning is not None and stage.pruning.end > stage.steps:
            problems.append(
                f"{path}.pruning.end: must be within the stage's {stage.steps} steps, got {stage.pruning.end}"
            )
        if stage.pruning is None and stage.learning_rate.schedule == "rewinding":
            problems.append(f"{path}.learning_rate.schedule: rewinding follows mask updates, add pruning")
        if stage.pruning is not None and stage.lock:
            problems.append(f"{path}.lock: a stage that prunes cannot have its pattern locked, drop one")
    if recipe.package not in known[1:]:
        problems.append(f"$.package: must name a stage ({', '.join(known[1:])}), got {recipe.package!r}")
    return problems


def _collected(source: str, problems: list[str]) -> RecipeError:
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return RecipeError(f"{source} has {count}:\n" + "\n".join(f"  {problem}" for problem in problems))


def _problem(error: Any) -> str:
    location = [part for part in error["loc"] if part not in ("masked_lm", "sequence_classification")]
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    if error["type"] == "extra_forbidden":
        choices = _keys_beside(location)
        nearest = difflib.get_close_matches(str(location[-1]), choices, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known here: {', '.join(choices)}"
        return f"{path}: unknown key, {hint}"
    if error["type"] in Pruning.model_fields:  # the check of a whole window, which names the field at fault
        return f"{path}.{error['type']}: {error['msg']}"
    if error["type"] == "missing":
        return f"{path}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    got = error["input"]
    shows_input = isinstance(got, str | int | float) and "got" not in message and repr(got) not in message
    return f"{path}: {message[:1].lower()}{message[1:]}" + (f", got {got!r}" if shows_input else "")


def _keys_beside(location: list[str | int]) -> list[str]:
    models: list[type[BaseModel]] = [Recipe]
    for part in location[:-1]:
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [model for field in fields for model in _models_in(field.annotation)]
    return [key for model in models for key in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
