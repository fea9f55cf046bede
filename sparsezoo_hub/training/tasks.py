"""Tasks: what a model is transferred to, one entry each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.training.documentation_parts import DOCUMENTATION_PARTS, load_documentation_parts
from sparsezoo_hub.training.labelled_text import LabelledSplit, LabelledText

__all__ = ["TASKS", "LabelledSplit", "LabelledText", "Task", "find_task", "load_task"]


@dataclass(frozen=True)
class Task:
    """A downstream task.

    Args:
        name: as a recipe's ``data`` names it.
        kind: the objective that fits it, ``sequence_classification``.
        labels: in the order of a head's outputs.
        load: returns the examples, the same ones at every call.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    load: Callable[[], LabelledSplit]


_PYTHON_DOCUMENTATION_PARTS = Task(
    name="python-documentation-parts",
    kind="sequence_classification",
    labels=tuple(DOCUMENTATION_PARTS),
    load=load_documentation_parts,
)

TASKS: Mapping[str, Task] = MappingProxyType(
    {_PYTHON_DOCUMENTATION_PARTS.name: _PYTHON_DOCUMENTATION_PARTS},
)


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ValueError: if there is none; lists those there are.
    """
    return TASKS[check_choice(name, TASKS, "task")]


def load_task(name: str) -> LabelledSplit:
    """Return the examples of the task of that name.

    Raises:
        ValueError: if there is no such task.
        CorpusError: if its text cannot be read.
    """
    return find_task(name).load()
