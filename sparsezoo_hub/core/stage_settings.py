"""The settings of a stage: how it learns, prunes, distils and freezes.

A point in time (``start``, ``end``, ``at`` …) counts in the unit of its stage: optimizer steps, or epochs if
the stage's length is given in epochs. ``core.stage_windows`` turns epochs into steps.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sparsezoo_hub.core.layer_dropping import LAYER_CHOICES
from sparsezoo_hub.core.learning_rates import LEARNING_RATES
from sparsezoo_hub.core.masks import check_sparsity
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.pruning_methods import METHODS
from sparsezoo_hub.core.selection import SCOPES
from sparsezoo_hub.core.sparsity_schedules import SPARSITY_SCHEDULES
from sparsezoo_hub.core.structures import parse_structure

Point = Annotated[int | float, Field(ge=0)]
Length = Annotated[int | float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class Part(BaseModel):
    """A part of a recipe: unknown keys are refused, nothing is changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Restart(Part):
    """The learning rate goes back to ``peak`` (without it, to the schedule's) at the point ``at``."""

    at: Length
    peak: Annotated[float, Field(gt=0)] | None = None


class LearningRate(Part):
    """Peak learning rate and how it moves (``core.learning_rates``).

    ``cycle`` is the length of a cycle of the schedule ``cyclic``; ``restarts`` are those of ``restarts``.
    """

    peak: Annotated[float, Field(gt=0)]
    schedule: str = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    cycle: Length | None = None
    restarts: tuple[Restart, ...] = ()

    @field_validator("schedule")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_choice(value, LEARNING_RATES, "learning-rate schedule")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.schedule == "cyclic") != (self.cycle is not None):
            raise PydanticCustomError("cycle", "goes with the schedule cyclic, give both or none")
        if (self.schedule == "restarts") != bool(self.restarts):
            raise PydanticCustomError("restarts", "go with the schedule restarts, give both or none")
        points = [each.at for each in self.restarts]
        if points != sorted(set(points)):
            raise PydanticCustomError("restarts", f"must be in order and distinct, got {points}")
        return self


class Fisher(Part):
    """How Optimal BERT Surgeon estimates the empirical Fisher matrix (Kurtic et al., 2022, section 3.2).

    ``num_gradients`` gradients of ``batch_size`` examples each; ``damping`` is added to the diagonal; a block
    couples ``block_size`` weights; at each mask update the matrix is estimated ``recomputations`` times, and
    an equal part of the weights pruned after each.
    """

    block_size: Annotated[int, Field(ge=1)] = 50
    num_gradients: Annotated[int, Field(ge=1)] = 1024
    damping: Annotated[float, Field(gt=0)] = 1e-7
    recomputations: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 16


class Pruning(Part):
    """Pruning: which weights, by which score, how sparse at which point.

    The sparsity follows ``schedule`` from ``initial_sparsity`` at ``start`` to ``final_sparsity`` at
    ``policy_end``; masks are recomputed every ``interval`` from ``start`` to ``end`` (the two windows of
    Prune OFA, table 5). ``policy_end`` is ``end`` if it is not given. A schedule that jumps (one_shot,
    constant) needs neither.

    ``targets`` lists what is pruned to ``final_sparsity``, or maps each target to a sparsity of its own.
    ``scope`` uniform prunes each weight matrix by itself, global all of them by one threshold.
    ``structure`` is unstructured, N:M (2:4) or 1xB blocks (1x4).
    """

    method: str = "magnitude"
    schedule: str = "cubic"
    scope: str = "uniform"
    structure: str = "unstructured"
    targets: tuple[str, ...] | dict[str, float] = ("encoder",)
    ignore: tuple[str, ...] = ()
    initial_sparsity: float = 0.0
    final_sparsity: float | None = None
    start: Point = 0
    policy_end: Point | None = None
    end: Point | None = None
    interval: Length | None = None
    fisher: Fisher | None = None

    @property
    def sparsities(self) -> Mapping[str, float]:
        """The final sparsity of each target."""
        if isinstance(self.targets, dict):
            return self.targets
        return dict.fromkeys(self.targets, self.final_sparsity or 0.0)

    @property
    def window(self) -> tuple[float, float, float]:
        """Where the mask updates start, where the sparsity is reached, where the mask updates end."""
        end = self.start if self.end is None else self.end
        return self.start, end if self.policy_end is None else self.policy_end, end

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        return check_choice(value, METHODS, "pruning method")

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        return check_choice(value, SPARSITY_SCHEDULES, "sparsity schedule")

    @field_validator("scope")
    @classmethod
    def _known_scope(cls, value: str) -> str:
        return check_choice(value, SCOPES, "scope")

    @field_validator("structure")
    @classmethod
    def _known_structure(cls, value: str) -> str:
        parse_structure(value)
        return value

    @field_validator("initial_sparsity", "final_sparsity")
    @classmethod
    def _in_range(cls, value: float | None) -> float | None:
        return value if value is None else check_sparsity(value)

    @field_validator("targets")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if not value:
            raise ValueError("name at least one target, for example [encoder]")
        for each in value.values() if isinstance(value, dict) else ():
            check_sparsity(each)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.targets, dict) == (self.final_sparsity is not None):
            raise PydanticCustomError(
                "final_sparsity", "is needed, unless targets give each its own: then leave it out"
            )
        for target, final in self.sparsities.items():
            if final < self.initial_sparsity:
                raise PydanticCustomError(
                    "final_sparsity" if self.final_sparsity is not None else "targets",
                    f"must be at least initial_sparsity ({self.initial_sparsity}), got {final} for {target}",
                )
        if self.fisher is not None and self.method != "optimal_bert_surgeon":
            raise PydanticCustomError("fisher", "is for the method optimal_bert_surgeon, leave it out")
        self._check_windows()
        return self

    def _check_windows(self) -> None:
        start, policy_end, end = self.window
        if self.schedule == "cubic":
            for name in ("end", "interval"):
                if getattr(self, name) is None:
                    raise PydanticCustomError(name, "is missing: a gradual schedule needs it")
            if policy_end <= start:
                raise PydanticCustomError("policy_end", f"must be after start ({start}), got {policy_end}")
        if end < policy_end or end < start:
            raise PydanticCustomError(
                "end", f"must not be before start and policy_end ({max(start, policy_end)}), got {end}"
            )


class Distillation(Part):
    """``loss = lambda_pt * task + lambda_kd * distillation`` at ``temperature`` (Prune OFA, equation 3).

    ``hardness`` h is the same in the terms of the other papers: lambda_kd = h, lambda_pt = 1 - h.
    ``hidden_states`` and ``attentions`` are the weights of the losses between the models' hidden states and
    attention probabilities, which are added; 0 for none.
    """

    hardness: Annotated[float, Field(ge=0, le=1)] | None = None
    lambda_pt: Weight | None = None
    lambda_kd: Weight | None = None
    temperature: Annotated[float, Field(gt=0)]
    hidden_states: Weight = 0.0
    attentions: Weight = 0.0

    @property
    def task_weight(self) -> float:
        """The weight of the task's own loss."""
        return 1 - self.hardness if self.hardness is not None else self.lambda_pt or 0.0

    @property
    def distillation_weight(self) -> float:
        """The weight of the distance to the teacher's logits."""
        return self.hardness if self.hardness is not None else self.lambda_kd or 0.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        lambdas = (self.lambda_pt is not None, self.lambda_kd is not None)
        if (self.hardness is not None) == any(lambdas) or (any(lambdas) and not all(lambdas)):
            raise PydanticCustomError("hardness", "give hardness, or both lambda_pt and lambda_kd")
        if not self.task_weight and not self.distillation_weight:
            raise PydanticCustomError("lambda_kd", "and lambda_pt are both 0: nothing would be learned")
        return self


class Plateau(Part):
    """Stop a stage whose validation loss stands still.

    The loss is measured ``every`` so many steps; the stage ends when it has improved by less than
    ``min_improvement`` ``patience`` times in a row.
    """

    every: Annotated[int, Field(ge=1)]
    min_improvement: Annotated[float, Field(ge=0)]
    patience: Annotated[int, Field(ge=1)] = 2


class FrozenEmbeddings(Part):
    """The embeddings stand still up to the point ``until``, or the whole stage without it."""

    until: Length | None = None


class Quantization(Part):
    """Quantization-aware training to int8 (``core.fake_quantization``).

    Ranges are learned, and rounded by, from the point ``start`` on; from ``freeze`` on they stay as they are.
    ``targets`` and ``ignore`` are those of a pruning; heads, embeddings and norms are never quantized.
    ``per_channel`` gives each output feature of a weight a range of its own.
    """

    targets: tuple[str, ...] = ("encoder",)
    ignore: tuple[str, ...] = ()
    per_channel: bool = False
    start: Point = 0
    freeze: Length | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.freeze is not None and self.freeze <= self.start:
            raise PydanticCustomError("freeze", f"must be after start ({self.start}), got {self.freeze}")
        return self


class KeptLayers(Part):
    """Which layers stay: a ``choice`` of ``count``, or ``layers`` by index (from 0)."""

    choice: str | None = None
    count: Annotated[int, Field(ge=1)] | None = None
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None

    @field_validator("choice")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return value if value is None else check_choice(value, LAYER_CHOICES, "choice of layers")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.choice is None) != (self.count is None) or (self.choice is None) == (self.layers is None):
            raise PydanticCustomError("layers", "give choice and count, or layers by index")
        return self
