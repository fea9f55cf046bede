"""The recipe: what is trained, pruned and packaged, as data.

A recipe is named parents and stages in order. A stage trains one model on one objective and may prune it,
distil it from a teacher, drop layers, freeze embeddings, or keep its pattern locked.
``core.recipe_text`` reads and writes the YAML.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.objective_settings import MaskedLM, Objective, TaskSettings
from sparsezoo_hub.core.stage_settings import (
    Distillation,
    FrozenEmbeddings,
    KeptLayers,
    LearningRate,
    Part,
    Plateau,
    Pruning,
    Quantization,
)
from sparsezoo_hub.errors import RecipeError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=96)]

BACKBONE = "backbone"
OPTIMIZERS = {"adamw": "adamw_torch_fused", "sgd": "sgd", "adafactor": "adafactor"}


class Parent(Part):
    """A model that stages start from or learn from.

    One of three: ``pretrained`` names a Hub repository or a folder; ``recipe`` names the recipe that makes
    it, and whoever runs this one says where that model lies; or a model of ``model_type`` with ``config``
    is initialised at random, and a tokenizer of ``vocab_size`` entries is trained on the text. The last kind
    may begin with a ``sparsity`` in its encoder: the lowest magnitudes of each weight are zero, and locked.
    """

    model_type: str
    pretrained: str | None = None
    revision: str | None = None
    recipe: str | None = None
    config: dict[str, int | float | str | bool] = Field(default_factory=dict)
    vocab_size: Annotated[int, Field(ge=200)] | None = None
    sparsity: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("pretrained", "recipe", "vocab_size") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "give one of pretrained (a Hub id or folder), recipe (the one that makes it) or vocab_size "
                f"(a model that starts from nothing), got {' and '.join(given) or 'none'}"
            )
        if (self.config or self.sparsity) and self.vocab_size is None:
            raise ValueError("a model that is not made here brings its own: leave config and sparsity out")
        return self


class CorpusPart(Part):
    """One of the texts that a streamed corpus is mixed of.

    ``weight`` is its share of the rows, relative to the other parts'; if no part has one, rows are as many
    as there is text. ``files`` is where it is on a Hub: an ``hf://`` address, taken where no other text is
    given.
    """

    description: str
    weight: Annotated[float, Field(gt=0)] | None = None
    files: Annotated[str, Field(pattern=r"^hf://")] | None = None


class Corpus(Part):
    """Text for masked LM.

    ``description`` says which text the paper used. Whoever runs the recipe gives files; without them only
    a corpus whose ``source`` is on every machine (``python_documentation``) can be used. ``parts`` are the
    texts that it is mixed of, if they are given apart and streamed.
    """

    description: str
    source: Literal["files", "python_documentation"] = "files"
    parts: dict[Name, CorpusPart] | None = None

    @field_validator("parts")
    @classmethod
    def _all_weighted_or_none(cls, value: dict[str, CorpusPart] | None) -> dict[str, CorpusPart] | None:
        without = [name for name, part in (value or {}).items() if part.weight is None]
        if value and 0 < len(without) < len(value):
            raise ValueError(f"give every part a weight or none; {', '.join(without)} has none")
        return value


class Stage(Part):
    """One training run, or one per seed.

    ``model`` and ``teacher`` name a parent or an earlier stage, ``data`` a corpus or a task. The length is
    given in ``steps`` or in ``epochs``. With ``lock``, the model's zeros are locked before the first step;
    a stage with ``pruning`` locks what it prunes as it goes. ``evaluations`` is how often the model is
    measured on the validation set, evenly spread, the last time at the end; ``keep`` best keeps the model of
    the highest score, once all pruning is done and all quantization has begun. ``fraction`` is the share of a
    task's training examples that is used: drawn by the seed, the smaller within the larger.
    ``group_by_length`` makes batches of a task's examples of about the same length, so that little is padded.
    """

    name: Name
    model: str
    objective: Objective
    data: str
    max_length: Annotated[int, Field(ge=8)]
    steps: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: str = "adamw"
    learning_rate: LearningRate
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    seeds: tuple[int, ...] = (0,)
    teacher: str | None = None
    distillation: Distillation | None = None
    layers: KeptLayers | None = None
    frozen_embeddings: FrozenEmbeddings | None = None
    pruning: Pruning | None = None
    lock: bool = False
    plateau: Plateau | None = None
    quantization: Quantization | None = None
    evaluations: Annotated[int, Field(ge=1)] = 1
    keep: Literal["last", "best"] = "last"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    group_by_length: bool = False

    @property
    def length(self) -> float:
        """The stage's length in its own unit."""
        return self.steps if self.steps is not None else self.epochs or 0.0

    @property
    def is_language_modelling(self) -> bool:
        """Whether the stage learns from text rather than from a task."""
        return isinstance(self.objective, MaskedLM)

    @field_validator("optimizer")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_choice(value, OPTIMIZERS, "optimizer")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"seeds must be distinct and at least one, got {list(value)}")
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise PydanticCustomError("steps", "give the stage's length in steps or in epochs, not both")
        return self

    @model_validator(mode="after")
    def _with_effect(self) -> Self:
        if self.keep == "best" and self.evaluations == 1:
            raise PydanticCustomError("evaluations", "must be at least 2 to keep the best of them")
        if self.fraction < 1 and self.is_language_modelling:
            raise PydanticCustomError("fraction", "is for labelled tasks; give masked LM less text")
        if self.group_by_length and self.is_language_modelling:
            raise PydanticCustomError(
                "group_by_length", "is for labelled tasks; masked LM has full sequences"
            )
        return self


class Provenance(Part):
    """What a finished run adds to its recipe: enough to run it again."""

    parents: dict[str, str]
    data: dict[str, tuple[str, ...]]
    max_steps: int | None = None
    precision: str = "float32"
    versions: dict[str, str]


class Recipe(Part):
    """A family member, from its parents to its package.

    ``tasks`` says what the user's own data of a task looks like. The recipe of a model that was made
    elsewhere and imported has no stages; its ``package`` is its parent.
    """

    format: Literal[1] = 1
    name: Name
    summary: str
    parents: dict[Name, Parent]
    corpora: dict[Name, Corpus] = Field(default_factory=dict)
    tasks: dict[Name, TaskSettings] = Field(default_factory=dict)
    stages: tuple[Stage, ...]
    package: str
    provenance: Provenance | None = None

    def stage(self, name: str) -> Stage:
        """Return the stage of that name.

        Raises:
            RecipeError: if the recipe has no stages at all, for its model was imported.
            ValueError: if there is none of that name; it lists the choices.
        """
        if not self.stages:
            raise RecipeError(
                f"the recipe {self.name} has no stages, for its model was made elsewhere and imported: there "
                "is nothing to run; name another recipe"
            )
        stages = {stage.name: stage for stage in self.stages}
        return stages[check_choice(name, stages, "stage")]
