"""Labelled text: the examples of a classification task."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One example.

    Args:
        text: what is classified.
        label: one of the task's labels.
        document: the name of the document that it comes from, if that is known.
        text_pair: the second text of a task about pairs.
    """

    text: str
    label: str
    document: str = ""
    text_pair: str | None = None


@dataclass(frozen=True)
class LabelledSplit:
    """The two sides of a task's data; no document and no text is on both.

    Args:
        labels: every label, in the order of a head's outputs.
        train: examples to learn from.
        validation: examples to be judged on.
    """

    labels: tuple[str, ...]
    train: tuple[LabelledText, ...]
    validation: tuple[LabelledText, ...]
