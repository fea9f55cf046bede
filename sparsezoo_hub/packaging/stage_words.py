"""Stage words: what a recipe's stage does, for the tables of cards."""

from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.core.stage_settings import Pruning


def stage_row(stage: Stage) -> dict[str, object]:
    """Return a stage as a row of a card's table: one value per column, by the column's name."""
    return {
        "name": stage.name,
        "model": stage.model,
        "objective": stage.objective.kind.replace("_", " "),
        "data": stage.data,
        "steps": _length_words(stage),
        "batch_size": stage.batch_size,
        "learning_rate": _learning_rate_words(stage),
        "distillation": _distillation_words(stage),
        "pruning": "; ".join([_pruning_words(stage), *_structure_words(stage)]),
    }


def target_words(pruning: Pruning) -> str:
    """Return what a pruning aims at: ``0.9 of each weight by itself``."""
    where = "of each weight by itself" if pruning.scope == "uniform" else "of all its weights together"
    return f"{_finals(pruning)} {where}"


def _length_words(stage: Stage) -> str:
    length = f"{stage.length:g} epochs" if stage.steps is None else str(stage.steps)
    return f"up to {length}" if stage.plateau else length


def _learning_rate_words(stage: Stage) -> str:
    rate = stage.learning_rate
    words = f"{rate.peak:g}, {rate.schedule}, warm-up {rate.warmup_ratio:g}"
    if rate.cycle is not None:
        words += f", a cycle of {rate.cycle:g}"
    for restart in rate.restarts:
        words += f", from {restart.at:g} again {restart.peak or rate.peak:g}"
    return words


def _structure_words(stage: Stage) -> list[str]:
    words = []
    kept, frozen = stage.layers, stage.frozen_embeddings
    if kept is not None:
        names = f"{kept.count} {kept.choice}" if kept.layers is None else ", ".join(map(str, kept.layers))
        words.append(f"layers kept: {names}")
    if frozen is not None:
        words.append("embeddings frozen" + ("" if frozen.until is None else f" until {frozen.until:g}"))
    return words


def _distillation_words(stage: Stage) -> str:
    if stage.distillation is None:
        return "none"
    given = stage.distillation
    words = (
        f"from {stage.teacher}, lambda_PT {given.task_weight:g}, lambda_kd {given.distillation_weight:g}, "
        f"temperature {given.temperature:g}"
    )
    for name, weight in (("hidden states", given.hidden_states), ("attentions", given.attentions)):
        words += f", {name} {weight:g}" if weight else ""
    return words


def _pruning_words(stage: Stage) -> str:
    pruning = stage.pruning
    if pruning is None:
        return "pattern locked" if stage.lock else "none"
    start, policy_end, end = pruning.window
    unit = "epochs" if stage.steps is None else "steps"
    finals = _finals(pruning)
    words = f"{pruning.method.replace('_', ' ')}, {pruning.scope}, {pruning.structure}, {pruning.schedule} "
    if pruning.interval is None:
        return f"{words}to {finals} at {unit} {start:g}"
    return (
        f"{words}from {pruning.initial_sparsity:g} to {finals} over {unit} {start:g} to {policy_end:g}, "
        f"masks updated every {pruning.interval:g} up to {end:g}"
    )


def _finals(pruning: Pruning) -> str:
    return ", ".join(f"{final:g}" for final in sorted(set(pruning.sparsities.values())))
