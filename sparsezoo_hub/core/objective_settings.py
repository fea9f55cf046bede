"""The settings of an objective: what a stage learns to predict."""

from typing import Annotated, Literal

from pydantic import Field

from sparsezoo_hub.core.stage_settings import Part


class MaskedLM(Part):
    """Masked language modelling with dynamic masking.

    ``short_probability`` is that of a sequence shorter than the longest (Prune OFA, section 6).
    """

    kind: Literal["masked_lm"]
    masking_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    whole_word: bool = False
    short_probability: Annotated[float, Field(ge=0, lt=1)] = 0.0


class MaskedLMNextSentence(MaskedLM):
    """The same with next sentence prediction on pairs of text from documents (Devlin et al., 2019)."""

    kind: Literal["masked_lm_next_sentence"]  # type: ignore[assignment]


class SequenceClassification(Part):
    """One label for a text, or a pair of texts."""

    kind: Literal["sequence_classification"]


class TokenClassification(Part):
    """One label for each word."""

    kind: Literal["token_classification"]


class QuestionAnswering(Part):
    """A span of the context that answers a question."""

    kind: Literal["question_answering"]


class TaskSettings(Part):
    """What a user's own data says of itself, where it differs from the task's format.

    ``fields`` maps the names that the task's kind has to those of the files. ``labels`` are in the order of
    the files' integers, ``positive`` are those that F1 counts, ``metric`` is the main one.
    """

    fields: dict[str, str] = Field(default_factory=dict)
    labels: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    metric: str | None = None


Objective = Annotated[
    MaskedLM | MaskedLMNextSentence | SequenceClassification | TokenClassification | QuestionAnswering,
    Field(discriminator="kind"),
]
