"""Studies as YAML text: read with every problem reported at once, each with its line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe_problems import Path, Problem, located, problem_list, schema_problem
from sparsezoo_hub.core.recipe_source import Node
from sparsezoo_hub.core.study import SEED, Case, Paper, RunSettings, Study

_PLACEHOLDER = re.compile(r"\{([a-z0-9][a-z0-9._-]*)\}")
# Where a part of a study's path says which keys there are; None stands for a name of the author's.
_FIELDS: Mapping[tuple[str | None, ...], Any] = {
    (): Study,
    ("axes", None, None): RunSettings,
    ("cases", None): Case,
    ("paper",): Paper,
}


def study_of(node: Node, source: str) -> Study:
    """Return the study of a file's nodes.

    Args:
        node: of the file.
        source: the file's name, for messages.

    Raises:
        RecipeError: if the study has problems; all of them, a line each, with the file's line and their path.
    """
    try:
        study = Study.model_validate(node.plain)
        problems = [*_inconsistencies(study)]
    except ValidationError as error:
        problems = [_problem(each) for each in error.errors()]
    if problems:
        raise problem_list(source, located(problems, node))
    return study


def filled(value: Any, labels: Mapping[str, str]) -> Any:
    """Return a value with the run's labels in the place of ``{axis}``, also within lists and mappings."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: labels[match[1]], value)
    if isinstance(value, Mapping):
        return {key: filled(each, labels) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [filled(each, labels) for each in value]
    return value


def _problem(error: ErrorDetails) -> Problem:
    location = tuple(error["loc"])
    if error["type"] != "extra_forbidden":
        return schema_problem(error)
    for shape, model in _FIELDS.items():
        if len(shape) == len(location) - 1 and all(
            want in (None, part) for want, part in zip(shape, location, strict=False)
        ):
            return location, _refusal(str(location[-1]), model.model_fields, "key") or ""
    return schema_problem(error)


def _refusal(name: str, choices: Any, what: str) -> str | None:
    """Return why a name is none of the choices, None if it is one."""
    try:
        check_choice(name, choices, what)
    except ValueError as error:
        return str(error)
    return None


def _inconsistencies(study: Study) -> Iterator[Problem]:
    for axis, values in study.axes.items():
        if not values:
            yield ("axes", axis), "needs at least one value"
    for label in study.axes.get(SEED, ()):
        if not label.isdecimal():
            yield ("axes", SEED), f"seeds are whole numbers from 0, got {label!r}"
    yield from _of_table(study)
    for index, case in enumerate(study.cases):
        yield from _of_where(study, ("cases", index, "where"), case.where)
    for path, value in _strings(study):
        for name in _PLACEHOLDER.findall(value):
            if name not in study.axes:
                yield path, f"{{{name}}} stands for no axis, the axes are: {', '.join(study.axes)}"
    if study.paper is not None and all(axis in study.axes for axis in (*study.rows, *study.columns)):
        levels = [study.labels(axis) for axis in (*study.rows, *study.columns)]
        levels[-1] += study.groups
        yield from _of_values(study.paper.values, levels, ("paper", "values"))


def _of_table(study: Study) -> Iterator[Problem]:
    seen: set[str] = set()
    for side, named in (("rows", study.rows), ("columns", study.columns)):
        if not named:
            yield (side,), "needs at least one axis"
        for index, axis in enumerate(named):
            refusal = _refusal(axis, study.axes, "axis")
            if axis == SEED:
                refusal = "the axis seed is averaged, leave it out"
            elif axis in seen:
                refusal = f"axis {axis} is in the table twice"
            if refusal is not None:
                yield (side, index), refusal
            seen.add(axis)
    for axis in study.axes:
        if axis not in seen | {SEED}:
            yield ("axes", axis), "is in neither rows nor columns: only the axis seed is averaged"
    if study.groups and len(study.columns) != 1:
        yield ("groups",), f"need one axis as columns, got {len(study.columns)}"
    elif study.groups and study.columns[0] in study.axes:
        yield from _of_groups(study.groups, study.labels(study.columns[0]))


def _of_groups(groups: Mapping[str, Sequence[str]], columns: Sequence[str]) -> Iterator[Problem]:
    known = list(columns)
    for group, members in groups.items():
        if group in known:
            yield ("groups", group), "is the name of a column already"
        if not members:
            yield ("groups", group), "needs at least one column"
        for index, member in enumerate(members):
            if refusal := _refusal(member, known, "column or earlier group"):
                yield ("groups", group, index), refusal
        known.append(group)


def _of_where(study: Study, path: Path, where: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    for axis, labels in where.items():
        if refusal := _refusal(axis, study.axes, "axis"):
            yield (*path, axis), refusal
            continue
        for label in labels:
            if refusal := _refusal(label, study.axes[axis], f"label of axis {axis}"):
                yield (*path, axis), refusal


def _of_values(values: Any, levels: Sequence[Sequence[str]], path: Path) -> Iterator[Problem]:
    if not levels:
        if isinstance(values, bool) or not isinstance(values, int | float):
            yield path, f"must be a number, got {values!r}"
    elif not isinstance(values, dict):
        yield path, f"must be a mapping by label ({', '.join(levels[0])}), got {values!r}"
    else:
        for label, value in values.items():
            if refusal := _refusal(label, levels[0], "label"):
                yield (*path, label), refusal
            else:
                yield from _of_values(value, levels[1:], (*path, label))


def _strings(study: Study) -> Iterator[tuple[Path, str]]:
    """Yield every string that labels are put into, with its path."""
    parts: list[tuple[Path, RunSettings]] = [
        (("axes", axis, label), settings)
        for axis, values in study.axes.items()
        for label, settings in values.items()
    ]
    parts += [(("cases", index), case) for index, case in enumerate(study.cases)]
    for path, settings in parts:
        for key in ("recipe", "parents", "set", "metric"):
            for value in _leaves(getattr(settings, key)):
                yield (*path, key), value


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from value
        yield from (leaf for each in value.values() for leaf in _leaves(each))
    elif isinstance(value, list | tuple):
        yield from (leaf for each in value for leaf in _leaves(each))
