"""The recipe: what is trained, pruned and packaged, as data.

A recipe is a backbone and stages in order. A stage trains one model on one objective and may prune it,
distil it from a teacher, or keep its pattern locked. ``core.recipe_text`` reads and writes the YAML.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sparsezoo_hub.core.learning_rates import LEARNING_RATES
from sparsezoo_hub.core.masks import check_sparsity
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.scores import SCORES
from sparsezoo_hub.core.sparsity_schedules import SPARSITY_SCHEDULES

Steps = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=96)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Backbone(_Part):
    """The model that the first stage starts from.

    ``pretrained`` names a Hub repository or a folder. Without it a model of ``model_type`` with ``config``
    is initialised at random, and a WordPiece tokenizer of ``vocab_size`` entries is trained on the text.
    """

    model_type: str
    pretrained: str | None = None
    revision: str | None = None
    config: dict[str, int | float | str | bool] = Field(default_factory=dict)
    vocab_size: Annotated[int, Field(ge=200)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.pretrained is None and self.vocab_size is None:
            raise ValueError(
                "give pretrained (a Hub id or folder), or vocab_size for a model that starts from nothing"
            )
        if self.pretrained is not None and (self.config or self.vocab_size):
            raise ValueError(
                "pretrained brings its own config and vocabulary: leave config and vocab_size out"
            )
        return self


class LearningRate(_Part):
    """Peak learning rate and how it moves (``core.learning_rates``)."""

    peak: Annotated[float, Field(gt=0)]
    schedule: str = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @field_validator("schedule")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_choice(value, LEARNING_RATES, "learning-rate schedule")


class Pruning(_Part):
    """Gradual pruning: which weights, by which score, how sparse at which step.

    The sparsity follows ``schedule`` from ``initial_sparsity`` at step ``start`` to ``final_sparsity`` at
    ``policy_end``; masks are recomputed every ``interval`` steps from ``start`` to ``end`` (the two windows
    of Prune OFA, table 5).
    """

    method: str = "magnitude"
    schedule: str = "cubic"
    targets: tuple[str, ...] = ("encoder",)
    ignore: tuple[str, ...] = ()
    initial_sparsity: float = 0.0
    final_sparsity: float
    start: Steps = 0
    policy_end: Annotated[int, Field(ge=1)]
    end: Annotated[int, Field(ge=1)]
    interval: Annotated[int, Field(ge=1)]

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        return check_choice(value, SCORES, "pruning method")

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        return check_choice(value, SPARSITY_SCHEDULES, "sparsity schedule")

    @field_validator("initial_sparsity", "final_sparsity")
    @classmethod
    def _in_range(cls, value: float) -> float:
        return check_sparsity(value)

    @field_validator("targets")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one target, for example [encoder]")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.final_sparsity < self.initial_sparsity:
            raise PydanticCustomError(
                "final_sparsity",
                f"must be at least initial_sparsity ({self.initial_sparsity}), got {self.final_sparsity}",
            )
        if self.policy_end <= self.start:
            raise PydanticCustomError(
                "policy_end", f"must be after start ({self.start}), got {self.policy_end}"
            )
        if self.end < self.policy_end:
            raise PydanticCustomError(
                "end", f"must not be before policy_end ({self.policy_end}), got {self.end}"
            )
        return self


class Distillation(_Part):
    """``loss = (1 - hardness) * task + hardness * distillation`` at ``temperature``.

    In the terms of Prune OFA (equation 3), lambda_kd is the hardness and lambda_PT one minus it.
    """

    hardness: Annotated[float, Field(ge=0, le=1)]
    temperature: Annotated[float, Field(gt=0)]


class Plateau(_Part):
    """Stop a stage whose validation loss stands still.

    The loss is measured every ``every`` steps; the stage ends when it has improved by less than
    ``min_improvement`` ``patience`` times in a row.
    """

    every: Annotated[int, Field(ge=1)]
    min_improvement: Annotated[float, Field(ge=0)]
    patience: Annotated[int, Field(ge=1)] = 2


class MaskedLM(_Part):
    """Masked language modelling with dynamic masking."""

    kind: Literal["masked_lm"]
    masking_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15


class SequenceClassification(_Part):
    """One label for a text."""

    kind: Literal["sequence_classification"]


class Stage(_Part):
    """One training run, or one per seed.

    ``model`` and ``teacher`` name an earlier stage or ``backbone``. With ``lock``, the model's zeros are
    locked before the first step; a stage with ``pruning`` locks what it prunes as it goes.
    """

    name: Name
    model: str
    objective: Annotated[MaskedLM | SequenceClassification, Field(discriminator="kind")]
    data: str
    max_length: Annotated[int, Field(ge=8)]
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: LearningRate
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    seeds: tuple[int, ...] = (0,)
    teacher: str | None = None
    distillation: Distillation | None = None
    pruning: Pruning | None = None
    lock: bool = False
    plateau: Plateau | None = None

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"seeds must be distinct and at least one, got {list(value)}")
        return value


class Provenance(_Part):
    """What a finished run adds to its recipe: enough to run it again."""

    backbone: str
    text: tuple[str, ...]
    max_steps: int | None = None
    versions: dict[str, str]


class Recipe(_Part):
    """A family member, from backbone to package."""

    format: Literal[1] = 1
    name: Name
    summary: str
    backbone: Backbone
    stages: tuple[Stage, ...]
    package: str
    provenance: Provenance | None = None

    def stage(self, name: str) -> Stage:
        """Return the stage of that name.

        Raises:
            ValueError: if there is none; it lists the choices.
        """
        stages = {stage.name: stage for stage in self.stages}
        return stages[check_choice(name, stages, "stage")]
