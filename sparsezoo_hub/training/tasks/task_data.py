"""Task data: the checked examples of a task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsezoo_hub.training.tasks.task_format import TaskFormat


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """A sentence of words, each with its tag."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context.

    Args:
        id: as the data names it.
        question: the question.
        context: the text that it is about.
        answers: each of them right; none if the context has no answer.
        starts: where each answer stands in the context, in characters.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class TaskData:
    """The data of a task: ``LabelledText``, ``TaggedWords`` or ``Question`` by the task's kind.

    Args:
        task: with the labels that the data has.
        train: examples to learn from; none in a folder that is only for evaluation.
        validation: examples to be judged on.
        test: examples for the last look, none if there are none.
        parts: the number of validation examples of each part, in order, if there is more than one.
        notices: what a reader of the results should know about the data.
    """

    task: TaskFormat
    train: tuple[Any, ...]
    validation: tuple[Any, ...]
    test: tuple[Any, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label, in the order of a head's outputs."""
        return self.task.labels
