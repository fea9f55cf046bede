"""Stage result: what one training run came to."""

from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.core.sparsity_report import measure_sparsity, overall_sparsity
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.training.evaluation import Evaluation
from sparsezoo_hub.training.validation_curve import CurvePoint, ValidationCurve


class StageResult(BaseModel):
    """What one training run came to.

    ``settings`` is the stage as it was run, every length in optimizer steps. ``metrics`` are those of a task,
    ``metric`` names the main one and ``score`` is its value; without a task, the accuracy. ``best_step`` is
    the step whose model was kept, None for the last one. ``sparsity`` is over the locked weights, None
    without a lock.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    settings: Stage
    seed: int
    steps: int
    seconds: float
    validation_loss: float
    validation_accuracy: float
    num_predictions: int
    metrics: dict[str, float] = Field(default_factory=dict)
    metric: str
    score: float
    curve: tuple[CurvePoint, ...] = ()
    best_step: int | None = None
    sparsity: float | None
    num_locked: int
    zeros_changed: int


def stage_result(
    stage: Stage,
    seed: int,
    steps: int,
    evaluation: Evaluation,
    model: PreTrainedModel,
    curve: ValidationCurve,
) -> StageResult:
    """Return the result of a stage that was trained to its end."""
    masks = PatternLock.masks(model)
    modules = linear_modules(model)
    return StageResult(
        stage=stage.name,
        settings=stage,
        seed=seed,
        steps=steps,
        seconds=round(curve.seconds, 2),
        validation_loss=evaluation.loss,
        validation_accuracy=evaluation.accuracy,
        num_predictions=evaluation.num_predictions,
        metrics=dict(evaluation.metrics),
        metric=evaluation.metric,
        score=evaluation.score,
        curve=tuple(curve.points),
        best_step=curve.best_step,
        sparsity=overall_sparsity(measure_sparsity({name: modules[name].weight for name in masks}))
        if masks
        else None,
        num_locked=sum(int((~mask).sum()) for mask in masks.values()),
        zeros_changed=PatternLock.revived(model),
    )
