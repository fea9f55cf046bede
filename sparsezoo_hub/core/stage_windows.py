"""Stage windows: a stage's points in time as optimizer steps, whatever unit and length the recipe has."""

from typing import Any

from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.core.stage_settings import FrozenEmbeddings, LearningRate, Pruning, Quantization


def in_steps(stage: Stage, steps_per_epoch: int, max_steps: int | None = None) -> Stage:
    """Return the stage with its length and every point of it in optimizer steps.

    Args:
        stage: its length is in steps or in epochs.
        steps_per_epoch: optimizer steps of one pass over the stage's data, at least 1.
        max_steps: a longer stage is shortened to this, its windows in proportion.
    """
    total = stage.steps if stage.steps is not None else max(1, round(stage.length * steps_per_epoch))
    total = total if max_steps is None else min(total, max_steps)
    factor = total / stage.length
    if stage.steps is not None and factor == 1:
        return stage
    update: dict[str, Any] = {"steps": total, "epochs": None}
    update["learning_rate"] = _learning_rate(stage.learning_rate, factor, total)
    if stage.pruning is not None:
        update["pruning"] = _pruning(stage.pruning, factor, total)
    if stage.frozen_embeddings is not None and stage.frozen_embeddings.until is not None:
        until = min(total, max(1, round(stage.frozen_embeddings.until * factor)))
        update["frozen_embeddings"] = FrozenEmbeddings(until=until)
    if stage.quantization is not None:
        update["quantization"] = _quantization(stage.quantization, factor, total)
    return stage.model_copy(update=update)


def points_outside(stage: Stage) -> list[tuple[str, str]]:
    """Return what is wrong with a stage's points: the field's path within the stage, and a message."""
    points: dict[str, float | None] = {"learning_rate.cycle": stage.learning_rate.cycle}
    for index, restart in enumerate(stage.learning_rate.restarts):
        points[f"learning_rate.restarts[{index}].at"] = restart.at
    if stage.frozen_embeddings is not None:
        points["frozen_embeddings.until"] = stage.frozen_embeddings.until
    if stage.pruning is not None:
        for name in ("start", "policy_end", "end", "interval"):
            points[f"pruning.{name}"] = getattr(stage.pruning, name)
    if stage.quantization is not None:
        points["quantization.start"] = stage.quantization.start
        points["quantization.freeze"] = stage.quantization.freeze
    unit = "epochs" if stage.steps is None else "steps"
    problems = []
    for path, point in points.items():
        if point is None:
            continue
        if point > stage.length:
            problems.append((path, f"must be within the stage's {stage.length:g} {unit}, got {point:g}"))
        elif stage.steps is not None and point != int(point):
            problems.append((path, f"must be whole steps, for the stage's length is in steps; got {point:g}"))
    return problems


def _learning_rate(learning_rate: LearningRate, factor: float, total: int) -> LearningRate:
    cycle = learning_rate.cycle
    warmup = round(learning_rate.warmup_ratio * total)
    restarts = {}
    for restart in learning_rate.restarts:  # in a stage cut very short, several may fall on one step, or none
        at = round(restart.at * factor)
        if max(1, warmup + 1) <= at < total:
            restarts[at] = restart.model_copy(update={"at": at})
    update: dict[str, Any] = {"restarts": tuple(restarts.values())}
    if learning_rate.restarts and not restarts:
        update["schedule"] = "linear"
    if cycle is not None:
        update["cycle"] = max(1, round(cycle * factor))
    return learning_rate.model_copy(update=update)


def _pruning(pruning: Pruning, factor: float, total: int) -> Pruning:
    start, policy_end, end = pruning.window
    first = min(int(start * factor), total - 1)
    reached = max(first + 1, round(policy_end * factor))
    update: dict[str, int] = {"start": first}
    if pruning.end is not None:
        update["policy_end"] = reached
        update["end"] = max(reached, round(end * factor))
    if pruning.interval is not None:
        update["interval"] = max(1, round(pruning.interval * factor))
    return pruning.model_copy(update=update)


def _quantization(quantization: Quantization, factor: float, total: int) -> Quantization:
    start = min(int(quantization.start * factor), total - 1)  # one step at least, to learn ranges in
    update: dict[str, int] = {"start": start}
    if quantization.freeze is not None:
        update["freeze"] = max(start + 1, round(quantization.freeze * factor))
    return quantization.model_copy(update=update)
