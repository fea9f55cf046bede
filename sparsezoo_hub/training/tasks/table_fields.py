"""Table fields: where a task's fields lie in a table, and the names of its labels."""

from collections.abc import Iterator, Mapping
from typing import Any

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.tasks.data_files import Table
from sparsezoo_hub.training.tasks.task_format import FIELDS, OPTIONAL, TaskFormat

_ROWS_AT_ONCE = 10_000


def find_fields(table: Table, task: TaskFormat) -> dict[str, str]:
    """Return where the table has each field of the task's shape: under the task's name for it or the shape's.

    Raises:
        CorpusError: if one is in neither place; lists the table's fields.
    """
    columns = table.data.column_names
    found: dict[str, str] = {}
    for field in FIELDS[task.kind]:
        name = task.fields.get(field, field)
        place = next((each for each in (name, field) if _column(each, columns) is not None), None)
        if place is not None:
            found[field] = place
        elif field in task.fields or field not in OPTIONAL:
            raise CorpusError(
                f"{table.where}: has no field {name!r} for the {field} of task {task.name}, its fields are "
                f"{', '.join(columns)}: rename it, or name it in task.yaml as fields: {{{field}: …}}"
            )
    return found


def field_rows(table: Table, fields: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row's place, for messages, and its fields; rows are counted from 1."""
    columns = table.data.column_names
    roots = {field: _column(place, columns) or place for field, place in fields.items()}
    data = table.data.select_columns(sorted(set(roots.values())))
    for start in range(0, len(data), _ROWS_AT_ONCE):
        batch = data[start : start + _ROWS_AT_ONCE]
        for offset in range(len(next(iter(batch.values())))):
            values = {
                field: _inside(batch[root][offset], fields[field].removeprefix(root).lstrip("."))
                for field, root in roots.items()
            }
            yield f"{table.where}, row {start + offset + 1}", values


def stored_names(table: Table, column: str) -> tuple[str, ...]:
    """Return the names that the file itself stores for the integers of a column of labels, else none."""
    feature = table.data.features.get(column)
    feature = getattr(feature, "feature", feature)
    return tuple(getattr(feature, "names", ()))


def label_of(value: Any, names: tuple[str, ...], labels: tuple[str, ...], where: str) -> str:
    """Return the label that a value of a row means.

    Args:
        value: a label, or an integer (also as a string of digits) that counts in ``names``.
        names: the names of the integers; none if they are not known.
        labels: all labels; none if they are not known before the data is read.
        where: the row, for messages.

    Raises:
        CorpusError: if it means none of them.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise CorpusError(
            f"{where}: a label must be a string or an integer, got {value!r} ({type(value).__name__})"
        )
    name = value
    if isinstance(name, str) and name not in (labels or (name,)) and name.isdecimal():
        name = int(name)
    if isinstance(name, int):
        if not names:
            return str(name)
        if not 0 <= name < len(names):
            raise CorpusError(
                f"{where}: label {value!r} is outside 0 to {len(names) - 1} ({', '.join(names)})"
                + ("; -1 is how a hidden label is written" if name == -1 else "")
            )
        name = names[name]
    fitted = fit_label(name, labels)
    if fitted is None:
        raise CorpusError(f"{where}: label {name!r} is none of {', '.join(labels)}; correct it")
    return fitted


def fit_label(name: str, labels: tuple[str, ...]) -> str | None:
    """Return the label that a name means, None if there is none.

    A data set of one entity type is found with typed tags (``B-Disease``) and without (``B``): an untyped
    tag gets the task's only type, and a type is dropped where the task's tags have none.
    """
    if not labels or name in labels:
        return name
    bare = name.partition("-")[0]
    if name in ("B", "I"):
        typed = [label for label in labels if label.startswith(f"{name}-")]
        return typed[0] if len(typed) == 1 else None
    return bare if bare in ("B", "I") and bare in labels and name != bare else None


def _column(place: str, columns: list[str]) -> str | None:
    if place in columns:
        return place
    root = place.partition(".")[0]
    return root if root in columns and root != place else None


def _inside(value: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value
