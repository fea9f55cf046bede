"""Loading: from a folder, or the Hub, to a task's checked data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from sparsezoo_hub.core.objective_settings import TaskSettings
from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.tasks.data_files import (
    ENDINGS,
    Table,
    read_hub_split,
    read_table,
    split_files,
)
from sparsezoo_hub.training.tasks.entities import OUTSIDE, num_stray
from sparsezoo_hub.training.tasks.row_examples import read_examples
from sparsezoo_hub.training.tasks.task_data import TaskData
from sparsezoo_hub.training.tasks.task_format import QUESTION, TEXT, VALIDATION, WORDS, TaskFormat
from sparsezoo_hub.training.tasks.task_settings import read_label_names, read_settings

TRAIN = "train"


def load_folder(task: TaskFormat, folder: Path, own: TaskSettings | None = None) -> TaskData:
    """Return a task's data from the files of a folder, or of the folder in it that has the task's name.

    Args:
        task: whose files they are.
        folder: with them, and with a ``task.yaml`` or not.
        own: comes before what ``task.yaml`` says.

    Raises:
        CorpusError: if the validation set is missing, or anything cannot be used; names file and row.
    """
    folder = data_folder(task, folder)
    for settings in (read_settings(folder, task.kind), own or TaskSettings()):
        task = replace(
            task,
            fields={**task.fields, **settings.fields},
            labels=settings.labels or task.labels,
            positive=settings.positive or task.positive,
            metric=settings.metric or task.metric,
        )
    names = read_label_names(folder) or task.labels
    files = _files(task, folder)
    sides = {
        split: tuple(chain.from_iterable(read_examples(read_table(path), task, names) for path in paths))
        for split, paths in files.items()
    }
    return _task_data(task, sides, names, folder)


def load_hub(task: TaskFormat) -> TaskData:
    """Return a task's data from the Hub.

    No test has a network: this is written from documentation, and only run against a stand-in.

    Raises:
        CorpusError: if the Hub does not have it, or it cannot be used.
    """
    hub = task.hub
    if hub is None:
        raise CorpusError(no_folder(task))
    task = replace(task, fields={**task.fields, **hub.fields})
    splits = [TRAIN, *task.validation, *([task.test] if task.test else [])]
    tables: dict[str, Table] = {split: read_hub_split(hub, split) for split in dict.fromkeys(splits)}
    sides = {split: read_examples(table, task, task.labels) for split, table in tables.items()}
    return _task_data(task, sides, task.labels, Path(hub.repository))


def data_folder(task: TaskFormat, folder: Path) -> Path:
    """Return the folder that has the task's files: ``folder``, or the one in it with the task's name."""
    return folder / task.name if (folder / task.name).is_dir() else folder


def check_folder(task: TaskFormat, folder: Path, splits: Sequence[str] = (TRAIN, VALIDATION)) -> None:
    """Refuse a folder without files for these splits, before hours are spent on an earlier stage.

    Raises:
        CorpusError: if a split has no file.
    """
    folder = data_folder(task, folder)
    found = _files(task, folder)
    for split in splits:
        wanted = task.validation if split == VALIDATION else (split,)
        if not any(found.get(each) for each in (split, *wanted)):
            raise missing_split(task, split, folder)


def missing_split(task: TaskFormat, split: str, folder: Path) -> CorpusError:
    """Return the error that a split has no file."""
    return CorpusError(
        f"{folder}: has no {split} data for task {task.name}: add a file named {split}{'|'.join(ENDINGS)}"
    )


def no_folder(task: TaskFormat) -> str:
    """Return the message that a task is not to be had without the user's files."""
    return f"the data of task {task.name} is on no Hub in this shape: give its files with --data FOLDER"


def _files(task: TaskFormat, folder: Path) -> dict[str, list[Path]]:
    validation = {split: split_files(folder, split) for split in task.validation}
    if len(validation) == 1 or not any(validation.values()):
        # A user's validation file comes before the split that stands in for one on the Hub.
        own = split_files(folder, VALIDATION)
        validation = {VALIDATION: own} if own else validation
    test = {} if task.test is None or task.test in validation else {task.test: split_files(folder, task.test)}
    found = {TRAIN: split_files(folder, TRAIN), **validation, **test}
    return {split: paths for split, paths in found.items() if paths}


def _task_data(
    task: TaskFormat, sides: Mapping[str, tuple[Any, ...]], names: Sequence[str], where: Path
) -> TaskData:
    task = _COMPLETE[task.kind](task, list(chain.from_iterable(sides.values())), names)
    outside = [label for label in task.positive if label not in task.labels]
    if outside:
        raise CorpusError(
            f"{where}: positive label {outside[0]!r} is none of {', '.join(task.labels)}: "
            "name the labels that F1 counts as positive in task.yaml"
        )
    if task.kind == TEXT and task.metric == "f1" and not task.positive:
        raise CorpusError(
            f"{where}: metric f1 needs to know which labels it counts: name them as positive in task.yaml"
        )
    parts = {split: len(sides[split]) for split in (*task.validation, VALIDATION) if split in sides}
    if not parts:
        raise missing_split(task, VALIDATION, where)
    validation = tuple(chain.from_iterable(sides[split] for split in parts))
    test = () if task.test is None or task.test in parts else sides.get(task.test, ())
    return TaskData(
        task,
        sides.get(TRAIN, ()),
        validation,
        test,
        {_part(split): rows for split, rows in parts.items()} if len(parts) > 1 else {},
        tuple(_notices(task, sides)),
    )


def _part(split: str) -> str:
    return split.removeprefix(f"{VALIDATION}_")


def _complete_text(task: TaskFormat, examples: Sequence[Any], names: Sequence[str]) -> TaskFormat:
    if task.labels:
        return task
    found = {each.label for each in examples}
    # Integers without names are classes all the same, in their own order.
    ordered = sorted(found, key=lambda label: (int(label), "") if label.isdecimal() else (-1, label))
    return replace(task, labels=tuple(names) if found <= set(names) else tuple(ordered))


def _complete_words(task: TaskFormat, examples: Sequence[Any], names: Sequence[str]) -> TaskFormat:
    if task.labels:
        return task
    found = {tag for each in examples for tag in each.tags}
    if found <= set(names):
        return replace(task, labels=tuple(names))
    ordered = sorted(found, key=lambda tag: (tag != OUTSIDE, tag.partition("-")[2], tag))
    return replace(task, labels=tuple(ordered))


def _complete_question(task: TaskFormat, examples: Sequence[Any], names: Sequence[str]) -> TaskFormat:
    del names  # answers have none
    # Where every question has an answer, giving none is no choice.
    return replace(task, no_answer=task.no_answer and not all(each.answers for each in examples))


_COMPLETE: Mapping[str, Callable[[TaskFormat, Sequence[Any], Sequence[str]], TaskFormat]] = {
    TEXT: _complete_text,
    WORDS: _complete_words,
    QUESTION: _complete_question,
}


def _notices(task: TaskFormat, sides: Mapping[str, Iterable[Any]]) -> list[str]:
    if not task.has_entities:
        return []
    strays = {split: sum(num_stray(each.tags) for each in examples) for split, examples in sides.items()}
    return [
        f"{split}: {count} I- tags continue no entity of their type; each is read as the beginning of one"
        for split, count in strays.items()
        if count
    ]
