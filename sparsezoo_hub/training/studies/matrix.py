"""The matrix of a study: its runs, each with its labels and the recipe that they come to."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_problems import problem_list
from sparsezoo_hub.core.recipe_source import Node
from sparsezoo_hub.core.study import SEED, Case, Study
from sparsezoo_hub.core.study_text import filled
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.recipe_library import load_recipe
from sparsezoo_hub.training.studies.library import StudyFile
from sparsezoo_hub.training.studies.run_recipe import with_values

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")  # a dot would begin an ending, as of a record
_MAX_KEY = 200  # a file name has 255 bytes, and some are longer than the key


@dataclass(frozen=True)
class StudyRun:
    """A run of a study.

    Args:
        key: names its files.
        labels: by axis.
        reference: of its recipe.
        recipe: as it will be run.
        parents: models by the parent that they take the place of.
        max_steps: of every stage at most, None for no limit.
        metric: that is tabulated, None for the task's main one.
    """

    key: str
    labels: Mapping[str, str]
    reference: str
    recipe: Recipe
    parents: Mapping[str, str] = field(default_factory=dict)
    max_steps: int | None = None
    metric: str | None = None


def study_runs(file: StudyFile) -> list[StudyRun]:
    """Return the runs of a study: all of one seed before the next, the last axis changing fastest.

    Raises:
        RecipeError: if a run has no recipe, or its recipe has problems; those of all runs, each once.
    """
    axes = f"{file.node.origin_of(('axes',))}: $.axes"
    problems: list[str] = []
    load = cache(load_recipe)
    labels_of: dict[str, dict[str, str]] = {}
    runs: list[StudyRun] = []
    for labels in combinations(file.study):
        key = run_key(labels)
        other = labels_of.setdefault(key.casefold(), labels)
        if other is not labels:
            problems.append(
                f"{axes}: {_text(labels)} and {_text(other)} would both be called {key}: rename one"
            )
        if len(key) > _MAX_KEY:
            problems.append(f"{axes}: the labels of {key} make too long a name for a file: shorten them")
        try:
            runs.append(_run(file, key, labels, load))
        except RecipeError as error:  # a recipe's own problems come after a line that counts them
            head, *lines = str(error).splitlines()
            problems += [line.strip() for line in lines] or [head]
    if problems:
        raise problem_list(str(file.path), problems)
    if SEED in file.study.axes:
        seeds = list(file.study.axes[SEED])
        runs.sort(key=lambda run: seeds.index(run.labels[SEED]))
    return runs


def combinations(study: Study) -> Iterator[dict[str, str]]:
    """Yield the labels of every run by axis."""
    for values in product(*study.axes.values()):
        labels = dict(zip(study.axes, values, strict=True))
        if not any(case.skip and _matches(case, labels) for case in study.cases):
            yield labels


def run_key(labels: Mapping[str, str]) -> str:
    """Return a run's name: readable, and safe as a file name."""
    named = [f"{axis}-{label}" if label.isdecimal() else label for axis, label in labels.items()]
    return "_".join(_UNSAFE.sub("-", each).strip("-") or "-" for each in named)


def shard(runs: list[StudyRun], index: int, count: int) -> list[StudyRun]:
    """Return the ``index``-th of ``count`` parts, from 1; dealt out one by one.

    Raises:
        RecipeError: if there is no such part.
    """
    if not 1 <= index <= count:
        raise RecipeError(f"--shard {index}/{count}: must be 1/{count} to {count}/{count}")
    return runs[index - 1 :: count]


def _matches(case: Case, labels: Mapping[str, str]) -> bool:
    return all(labels[axis] in wanted for axis, wanted in case.where.items())


def _run(file: StudyFile, key: str, labels: Mapping[str, str], load: Callable[[str], Recipe]) -> StudyRun:
    said = _merged(file, labels)
    single, parents, values = said.single, said.parents, said.values
    if "recipe" not in single:
        origin = file.node.origin_of(("axes",))
        raise RecipeError(f"{origin}: $.axes: {_text(labels)} has no recipe: name one in a value of an axis")
    reference = single["recipe"]
    try:
        loaded = load(_reference(reference.plain, file.path))
    except RecipeError as error:
        raise RecipeError(f"{reference.origin}: {error}") from None
    if SEED in labels:
        origin = file.node.origin_of(("axes", SEED))
        values[f"stages.{loaded.package}.seeds"] = Node([Node(int(labels[SEED]), origin)], origin)
    for name, node in parents.items():
        if name not in loaded.parents:
            known = ", ".join(loaded.parents)
            raise RecipeError(f"{node.origin}: recipe {loaded.name} has no parent {name!r}, it has: {known}")
    recipe = with_values(loaded, values, reference.plain)
    return StudyRun(
        key=key,
        labels=labels,
        reference=reference.plain,
        recipe=recipe,
        parents={name: node.plain for name, node in parents.items() if name in recipe.parents},
        max_steps=single["max_steps"].plain if "max_steps" in single else None,
        metric=single["metric"].plain if "metric" in single else None,
    )


@dataclass
class _Merged:
    """What the axes and the cases say about a run, the later in the place of the earlier."""

    single: dict[str, Node]
    parents: dict[str, Node]
    values: dict[str, Node]


def _merged(file: StudyFile, labels: Mapping[str, str]) -> _Merged:
    said = _Merged({}, {}, {})
    places = {"parents": said.parents, "set": said.values}
    for part in _parts(file, labels):
        for name, node in part.items():
            if name in places:
                for place, value in (node.content or {}).items():
                    places[name][filled(place, labels)] = _filled_node(value, labels)
            else:
                said.single[name] = _filled_node(node, labels)
    return said


def _parts(file: StudyFile, labels: Mapping[str, str]) -> Iterator[Mapping[str, Node]]:
    """Yield the settings that a run is made of, in their order."""
    axes = file.node.content["axes"].content
    for axis, label in labels.items():
        values = axes[axis].content
        if isinstance(values, dict):
            yield values[label].content
    for index, case in enumerate(file.study.cases):
        if _matches(case, labels):
            yield file.node.content["cases"].content[index].content


def _reference(reference: str, study: Path) -> str:
    """Return a recipe's reference; a file's relative to the study's."""
    file, colon, variant = reference.rpartition(":")
    for name, rest in ((reference, ""), (file, colon + variant)):
        if name and (study.parent / name).is_file():
            return f"{study.parent / name}{rest}"
    return reference


def _filled_node(node: Node, labels: Mapping[str, str]) -> Node:
    if isinstance(node.content, dict):
        return Node({key: _filled_node(each, labels) for key, each in node.content.items()}, node.origin)
    if isinstance(node.content, list):
        return Node([_filled_node(each, labels) for each in node.content], node.origin)
    return Node(filled(node.content, labels), node.origin)


def _text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{axis} {label}" for axis, label in labels.items())
