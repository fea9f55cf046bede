"""Task format: what a task's data looks like, and what it is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

TEXT = "sequence_classification"
WORDS = "token_classification"
QUESTION = "question_answering"

# The fields of each shape. A user's own files use these names; those in OPTIONAL may be absent.
FIELDS: Mapping[str, tuple[str, ...]] = {
    TEXT: ("text", "text_pair", "label"),
    WORDS: ("tokens", "tags"),
    QUESTION: ("id", "question", "context", "answers"),
}
OPTIONAL = ("text_pair", "id")

METRICS: Mapping[str, tuple[str, ...]] = {
    TEXT: ("accuracy", "f1"),
    WORDS: ("f1", "accuracy"),
    QUESTION: ("f1", "exact_match"),
}

VALIDATION = "validation"


@dataclass(frozen=True)
class HubData:
    """Where a task's data lies on the Hub.

    Loading from there needs the network, which no test has: repositories, configurations and field names are
    written from their documentation.

    Args:
        repository: ``owner/name``.
        configuration: of the data set, None if it has only one.
        revision: a branch or commit, None for the main one.
        fields: where they differ from the task's.
    """

    repository: str
    configuration: str | None = None
    revision: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskFormat:
    """A downstream task, without its data.

    Args:
        name: as a recipe's ``data`` names it.
        kind: the objective that fits it.
        labels: in the order of a head's outputs; none for question answering, and for a user's own task none
            before its data is read.
        fields: from the shape's field (``FIELDS``) to the data's, where they differ; a dot enters a nested
            field, and a list of texts is read as one text.
        positive: labels that F1 counts; none where the papers give no F1.
        metric: the main one of ``METRICS``.
        validation: the splits that make up the validation set; more than one are also reported apart.
        test: the split of the test set, None where its labels are not public.
        no_answer: whether a question may have none (SQuAD v2).
        max_length: tokens that the papers' runs use.
        hub: where the data lies, None where no repository has it in this shape.
    """

    name: str
    kind: str
    labels: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    positive: tuple[str, ...] = ()
    metric: str = "accuracy"
    validation: tuple[str, ...] = (VALIDATION,)
    test: str | None = "test"
    no_answer: bool = False
    max_length: int = 128
    hub: HubData | None = None

    @property
    def has_entities(self) -> bool:
        """Whether tags are entities in IOB, judged by F1."""
        return self.kind == WORDS and self.metric == "f1"
