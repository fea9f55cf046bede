"""One training run: a stage of a recipe with one seed."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.utils import broadcast
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)

from sparsezoo_hub.core.learning_rates import LEARNING_RATES, Course, Restart
from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.core.stage_settings import Fisher
from sparsezoo_hub.core.stage_windows import in_steps
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.checkpoints import Checkpoints, Resumable, step_of
from sparsezoo_hub.training.evaluation import Evaluation
from sparsezoo_hub.training.frozen_embeddings import FrozenEmbeddings
from sparsezoo_hub.training.gradient_samples import sample_gradients
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.plateau import PlateauStop
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.progress import ProgressCallback, Watcher
from sparsezoo_hub.training.pruner import Pruner
from sparsezoo_hub.training.quantizer import Quantizer
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.seeded_collator import SeededCollator
from sparsezoo_hub.training.stage_data import StageData
from sparsezoo_hub.training.stage_models import Sources, load_student, load_teacher
from sparsezoo_hub.training.stage_result import StageResult, stage_result
from sparsezoo_hub.training.trainer import SparseTrainer
from sparsezoo_hub.training.training_arguments import training_arguments
from sparsezoo_hub.training.validation_curve import Measurement, ValidationCurve

# More mask updates than a stage has, so that no two seeds draw the same.
_MAX_UPDATES = 1_000_003


def train_stage(
    stage: Stage,
    seed: int,
    sources: Sources,
    data: StageData,
    scratch: Path,
    options: RunOptions,
    watcher: Watcher,
) -> tuple[PreTrainedModel, StageResult]:
    """Return the trained model and what it came to.

    Args:
        stage: what to do.
        seed: of the head's initial weights, the order of the data and dropout.
        sources: of the models.
        data: the stage's examples.
        scratch: where checkpoints lie; a complete one found there is gone on from.
        options: of the run.
        watcher: is told about progress.

    Raises:
        LockError: if the pattern is to be locked and the model has none.
        RecipeError: if the batch size cannot be split over the processes, the model's positions do not
            reach, the teacher was trained for something else, or has another vocabulary.
        TargetError: if a pruning target matches no weight.
    """
    set_seed(seed)
    stage = in_steps(stage, math.ceil(len(data.train) / stage.batch_size), options.max_steps)
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
        args=training_arguments(stage, seed, scratch, options),
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
    return model, stage_result(stage, seed, trainer.state.global_step, evaluation, model, curve)


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
