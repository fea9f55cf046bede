"""One training run: a stage of a recipe with one seed."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.utils import broadcast
from pydantic import BaseModel, ConfigDict, Field
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from sparsezoo_hub.core.learning_rates import LEARNING_RATES, Course, Restart
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe import OPTIMIZERS, Stage
from sparsezoo_hub.core.sparsity_report import measure_sparsity, overall_sparsity
from sparsezoo_hub.core.stage_settings import Fisher
from sparsezoo_hub.core.stage_windows import in_steps
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.checkpoints import Checkpoints, Resumable, step_of
from sparsezoo_hub.training.evaluation import Evaluation
from sparsezoo_hub.training.frozen_embeddings import FrozenEmbeddings
from sparsezoo_hub.training.gradient_samples import sample_gradients
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.plateau import PlateauStop
from sparsezoo_hub.training.processes import on_cpu, process_state
from sparsezoo_hub.training.progress import EVERY, ProgressCallback, Watcher
from sparsezoo_hub.training.pruner import Pruner
from sparsezoo_hub.training.quantizer import Quantizer
from sparsezoo_hub.training.seeded_collator import SeededCollator
from sparsezoo_hub.training.stage_data import StageData
from sparsezoo_hub.training.stage_models import Sources, load_student, load_teacher
from sparsezoo_hub.training.trainer import SparseTrainer
from sparsezoo_hub.training.validation_curve import CurvePoint, Measurement, ValidationCurve

# More mask updates than a stage has, so that no two seeds draw the same.
_MAX_UPDATES = 1_000_003


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


class Limits(BaseModel):
    """What a run sets for all of its stages.

    Args:
        max_steps: shortens every stage to at most this.
        checkpoint_every: optimizer steps between two checkpoints.
        bf16: whether models compute in bfloat16 where autocast allows it; their weights stay float32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int | None = None
    checkpoint_every: int = 500
    bf16: bool = False


def train_stage(
    stage: Stage,
    seed: int,
    sources: Sources,
    data: StageData,
    scratch: Path,
    limits: Limits,
    watcher: Watcher,
) -> tuple[PreTrainedModel, StageResult]:
    """Return the trained model and what it came to.

    Args:
        stage: what to do.
        seed: of the head's initial weights, the order of the data and dropout.
        sources: of the models.
        data: the stage's examples.
        scratch: where checkpoints lie; a complete one found there is gone on from.
        limits: of the run.
        watcher: is told about progress.

    Raises:
        LockError: if the pattern is to be locked and the model has none.
        RecipeError: if the batch size cannot be split over the processes, the model's positions do not
            reach, the teacher was trained for something else, or has another vocabulary.
        TargetError: if a pruning target matches no weight.
    """
    set_seed(seed)
    stage = in_steps(stage, math.ceil(len(data.train) / stage.batch_size), limits.max_steps)
    model = load_student(stage, sources, data.labels)
    teacher = load_teacher(stage, sources, data.labels)
    _check_logits(stage, model, teacher)
    pruner = None if stage.pruning is None else Pruner(stage.pruning, model)
    label = stage.name if len(stage.seeds) == 1 else f"{stage.name} seed {seed}"
    parts = _resumable(stage, model, data, pruner)
    curve = parts["curve"]
    callbacks: list[TrainerCallback] = [each for each in parts.values() if isinstance(each, TrainerCallback)]
    if stage.frozen_embeddings is not None:
        until = stage.frozen_embeddings.until
        callbacks.append(FrozenEmbeddings(model, None if until is None else int(until)))
    if stage.quantization is not None:
        callbacks.append(Quantizer(stage.quantization, model))
    callbacks.append(ProgressCallback(label, watcher, pruner))
    checkpoints = Checkpoints(parts)
    checkpoint = checkpoints.resume(scratch)
    collate = SeededCollator(data.collate, seed, process_state().process_index, step_of(checkpoint))
    trainer = SparseTrainer(
        objective=OBJECTIVES[stage.objective.kind],
        learning_rate_factor=_learning_rate_factor(stage, pruner),
        teacher=teacher,
        distillation=stage.distillation,
        group_by_length=stage.group_by_length,
        model=model,
        args=_arguments(stage, seed, scratch, limits),
        train_dataset=data.train,
        data_collator=collate,
        callbacks=[*callbacks, checkpoints],
    )
    trainer.remove_callback(PrinterCallback)
    if pruner is not None and stage.pruning is not None:
        batch_size = (stage.pruning.fisher or Fisher()).batch_size
        pruner.gradients = lambda update: sample_gradients(
            model,
            pruner.modules,
            trainer.compute_loss,
            data.train,
            data.collate,
            batch_size,
            seed * _MAX_UPDATES + update,
        )
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    model.config.output_hidden_states = model.config.output_attentions = False  # what distillation asked for
    assert isinstance(curve, ValidationCurve)  # noqa: S101 - for the type checker
    evaluation = data.evaluate(model)
    if curve.keep_best(_shared(evaluation).score):
        evaluation = data.evaluate(model)
    return model, _result(stage, seed, trainer.state.global_step, evaluation, model, curve)


def _check_logits(stage: Stage, model: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
    if teacher is None or not stage.is_language_modelling:
        return
    if teacher.config.vocab_size != model.config.vocab_size:
        raise RecipeError(
            f"stage {stage.name}: the teacher has a vocabulary of {teacher.config.vocab_size}, "
            f"the student of {model.config.vocab_size}; distillation needs the same one"
        )


def _resumable(
    stage: Stage, model: PreTrainedModel, data: StageData, pruner: Pruner | None
) -> dict[str, Resumable]:
    """Return the callbacks that have a state, in the order in which they are called."""

    def measure() -> Measurement:
        return _shared(data.evaluate(model))

    parts: dict[str, Resumable] = {}
    if pruner is not None:
        parts["pruner"] = pruner
    sparsity = (lambda: 0.0) if pruner is None else (lambda: pruner.sparsity)
    parts["curve"] = ValidationCurve(
        stage.evaluations,
        int(stage.length),
        measure,
        sparsity,
        best_of=model if stage.keep == "best" else None,
        best_from=_complete_from(stage),
    )
    if stage.plateau is not None:
        start = 0 if stage.pruning is None else int(stage.pruning.window[2])
        parts["plateau"] = PlateauStop(stage.plateau, lambda: measure().loss, start)
    return parts


def _complete_from(stage: Stage) -> int:
    """Return the step from which on the model is what the stage makes: pruned, and computing in int8."""
    points = [0]
    if stage.pruning is not None:
        points.append(int(stage.pruning.window[2]) + 1)
    if stage.quantization is not None:
        points.append(int(stage.quantization.start) + 1)
    return max(points)


def _shared(evaluation: Evaluation) -> Measurement:
    """Return the main process's measurement: all must decide alike, and the last digits may differ."""
    pair = torch.tensor(
        [evaluation.loss, evaluation.score], device=process_state().device, dtype=torch.float64
    )
    return Measurement(*broadcast(pair).tolist())


def _learning_rate_factor(stage: Stage, pruner: Pruner | None) -> Callable[[int], float]:
    settings = stage.learning_rate
    restarts = [
        Restart(int(each.at), (each.peak or settings.peak) / settings.peak) for each in settings.restarts
    ]
    course = Course(
        total=int(stage.length),
        warmup=round(settings.warmup_ratio * stage.length),
        window=None if pruner is None else pruner.window,
        cycle=None if settings.cycle is None else int(settings.cycle),
        restarts=restarts,
    )
    schedule = LEARNING_RATES[settings.schedule]
    return lambda step: schedule(step, course)


def _arguments(stage: Stage, seed: int, scratch: Path, limits: Limits) -> TrainingArguments:
    processes = process_state().num_processes
    if stage.batch_size % processes:
        raise RecipeError(
            f"stage {stage.name}: batch_size {stage.batch_size} cannot be split over {processes} processes"
        )
    return TrainingArguments(
        output_dir=str(scratch),
        use_cpu=on_cpu(),
        bf16=limits.bf16,
        max_steps=int(stage.length),
        per_device_train_batch_size=stage.batch_size // processes,
        learning_rate=stage.learning_rate.peak,
        weight_decay=stage.weight_decay,
        optim=OPTIMIZERS[stage.optimizer],
        seed=seed,
        save_strategy="steps",
        save_steps=limits.checkpoint_every,
        save_total_limit=2,
        logging_steps=EVERY,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )


def _result(
    stage: Stage,
    seed: int,
    steps: int,
    evaluation: Evaluation,
    model: PreTrainedModel,
    curve: ValidationCurve,
) -> StageResult:
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
