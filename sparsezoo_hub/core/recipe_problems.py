"""Recipe problems: what is wrong with a recipe, each with its path, the nearest valid name and its line."""

import difflib
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.core.recipe_source import Node
from sparsezoo_hub.core.stage_settings import Pruning
from sparsezoo_hub.core.stage_windows import points_outside
from sparsezoo_hub.core.structures import check_structure, parse_structure
from sparsezoo_hub.errors import RecipeError, SparsityError

Path = tuple[str | int, ...]
Problem = tuple[Path, str]

# What pydantic adds to a location for the member of a union that it tried.
_UNION_MEMBERS = {
    *("masked_lm", "masked_lm_next_sentence", "sequence_classification", "token_classification"),
    *("question_answering", "int", "float", "tuple[str, ...]", "dict[str,float]"),
}


def path_text(path: Path) -> str:
    """Return ``$.stages[1].pruning.end``."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def located(problems: Sequence[Problem], node: Node) -> list[str]:
    """Return each problem as a line, with the file's line that it comes from."""
    return [f"{node.origin_of(path)}: {path_text(path)}: {message}" for path, message in problems]


def problem_list(source: str, lines: Sequence[str]) -> RecipeError:
    """Return the error that a file has these problems, each of them once."""
    distinct = list(dict.fromkeys(lines))
    count = f"{len(distinct)} problem{'s' if len(distinct) > 1 else ''}"
    return RecipeError(f"{source} has {count}:\n" + "\n".join(f"  {line}" for line in distinct))


def schema_problem(error: ErrorDetails) -> Problem:
    """Return one of pydantic's errors in our terms."""
    location = tuple(part for part in error["loc"] if part not in _UNION_MEMBERS)
    if error["type"] == "extra_forbidden":
        return location, _unknown_key(location)
    if error["type"] == "missing":
        return location, "is missing"
    if error["type"] in _fields_at(location):  # a check of several fields, which names the one at fault
        return (*location, error["type"]), error["msg"]
    message = error["msg"].removeprefix("Value error, ")
    got = error["input"]
    shows_input = isinstance(got, str | int | float) and "got" not in message and repr(got) not in message
    return location, f"{message[:1].lower()}{message[1:]}" + (f", got {got!r}" if shows_input else "")


def inconsistencies(recipe: Recipe) -> list[Problem]:
    """Return every problem of a recipe whose parts are right by themselves."""
    if not recipe.parents:
        return [(("parents",), "a recipe needs at least one parent")]
    if not recipe.stages and recipe.package not in recipe.parents:  # an imported model's recipe has none
        return [(("stages",), "a recipe needs at least one stage")]
    problems: list[Problem] = []
    known = [*recipe.parents]
    for index, stage in enumerate(recipe.stages):
        problems += [((*("stages", index), *path), message) for path, message in _of_stage(stage, known)]
        known.append(stage.name)
    names = [stage.name for stage in recipe.stages]
    if names and recipe.package not in names:
        message = f"must name a stage ({', '.join(names)}), got {recipe.package!r}"
        problems.append((("package",), message))
    return problems


def _of_stage(stage: Stage, known: list[str]) -> list[Problem]:
    problems: list[Problem] = []
    for key, value in (("model", stage.model), ("teacher", stage.teacher)):
        if value is not None and value not in known:
            problems.append(((key,), _not_known(value, known)))
    if stage.name in known:
        problems.append((("name",), f"{stage.name!r} is taken by an earlier stage or a parent"))
    if (stage.teacher is None) != (stage.distillation is None):
        problems.append(((), "teacher and distillation go together, give both or none"))
    if stage.pruning is None and stage.learning_rate.schedule == "rewinding":
        problems.append((("learning_rate", "schedule"), "rewinding follows mask updates, add pruning"))
    if stage.pruning is not None and stage.lock:
        problems.append((("lock",), "a stage that prunes cannot have its pattern locked, drop one"))
    if stage.layers is not None and stage.lock:
        problems.append((("lock",), "a stage that drops layers changes the pattern: lock in a later stage"))
    problems += [(tuple(path.split(".")), message) for path, message in points_outside(stage)]
    if stage.pruning is not None:
        problems += _of_pruning(stage.pruning)
    return problems


def _of_pruning(pruning: Pruning) -> list[Problem]:
    if pruning.method == "movement" and pruning.start == 0 and pruning.initial_sparsity:
        message = "movement needs training steps before it prunes: start later, or at initial_sparsity 0"
        return [(("pruning", "start"), message)]
    try:
        for sparsity in pruning.sparsities.values():
            check_structure(parse_structure(pruning.structure), sparsity, {})
    except SparsityError as error:
        return [(("pruning", "structure"), str(error))]
    return []


def _not_known(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"must be a parent or an earlier stage ({', '.join(known)}), got {name!r}{hint}"


def _unknown_key(location: Path) -> str:
    choices = _fields_at(location[:-1])
    nearest = difflib.get_close_matches(str(location[-1]), choices, n=1)
    return "unknown key, " + (
        f"did you mean {nearest[0]!r}?" if nearest else f"known here: {', '.join(choices)}"
    )


def _fields_at(location: Path) -> list[str]:
    models: list[type[BaseModel]] = [Recipe]
    for part in location:
        if isinstance(part, int) or not any(part in model.model_fields for model in models):
            continue  # an index, or a name that the recipe's author chose
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        models = [model for field in fields for model in _models_in(field.annotation)]
    return [*dict.fromkeys(key for model in models for key in model.model_fields)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
