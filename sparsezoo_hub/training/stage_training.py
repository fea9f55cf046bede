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

from sparsezoo_hub.core.fake_quantization import freeze_ranges
from sparsezoo_hub.core.learning_rates import LEARNING_RATES, Course, Restart
from sparsezoo_hub.core.loss_history import loss_bounds
from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.core.stage_settings import Fisher
from sparsezoo_hub.core.stage_windows import in_steps
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.checkpoint_files import step_of
from sparsezoo_hub.training.checkpoints import Checkpoints, Resumable
from sparsezoo_hub.training.compilation import compiled_layers
from sparsezoo_hub.training.evaluation import Evaluation
from sparsezoo_hub.training.frozen_embeddings import FrozenEmbeddings
from sparsezoo_hub.training.gradient_samples import sample_gradients
from sparsezoo_hub.training.interruption import Interruption
from sparsezoo_hub.training.loss_guard import LossGuard
from sparsezoo_hub.training.meter import Meter
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.plateau import PlateauStop
from sparsezoo_hub.training.processes import data_workers, process_state
from sparsezoo_hub.training.pruner import Pruner
from sparsezoo_hub.training.quantizer import Quantizer
from sparsezoo_hub.training.reporters import PROJECT
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.sharded_training import gathered
from sparsezoo_hub.training.stage_data import StageData
from sparsezoo_hub.training.stage_models import Sources, load_student, load_teacher
from sparsezoo_hub.training.stage_result import StageResult, stage_result
from sparsezoo_hub.training.stop_signals import deferred
from sparsezoo_hub.training.streams.streamed_text import StreamedRows
from sparsezoo_hub.training.token_masking import row_seed
from sparsezoo_hub.training.trainer import SparseTrainer
from sparsezoo_hub.training.training_arguments import training_arguments
from sparsezoo_hub.training.validation_curve import Measurement, ValidationCurve
from sparsezoo_hub.training.watching import StageWatch, Watch, current_sparsity


def train_stage(
    stage: Stage,
    seed: int,
    sources: Sources,
    data: StageData,
    scratch: Path,
    options: RunOptions,
    watch: Watch,
) -> tuple[PreTrainedModel, StageResult]:
    """Return the trained model and what it came to.

    Args:
        stage: what to do.
        seed: of the head's initial weights, the order of the data and dropout.
        sources: of the models.
        data: the stage's examples.
        scratch: where checkpoints lie; a complete one found there is gone on from.
        options: of the run.
        watch: who is told how it goes.

    Raises:
        LockError: if the pattern is to be locked and the model has none.
        LossError: if the loss is no number any more, or has exploded.
        Interrupted: if a stop signal came, once the checkpoint is complete.
        PackageError: if a checkpoint cannot be written.
        RecipeError: if the batch size cannot be split over the processes, the model's positions do not
            reach, the teacher was trained for something else, or has another vocabulary.
        TargetError: if a pruning target matches no weight.
    """
    set_seed(seed)
    stage = _with_steps(stage, data, options.max_steps)
    model = load_student(stage, sources, data.labels)
    teacher = load_teacher(stage, sources, data.labels)
    _check_logits(stage, model, teacher)
    pruner = None if stage.pruning is None else Pruner(stage.pruning, model)
    label = stage.name if len(stage.seeds) == 1 else f"{stage.name} seed {seed}"
    guard = _guard(stage, label, model, scratch, pruner)
    parts = {"guard": guard, **_resumable(stage, model, data, pruner)}
    curve = parts["curve"]
    callbacks: list[TrainerCallback] = [each for each in parts.values() if isinstance(each, TrainerCallback)]
    if stage.frozen_embeddings is not None:
        until = stage.frozen_embeddings.until
        callbacks.append(FrozenEmbeddings(model, None if until is None else int(until)))
    if stage.quantization is not None:
        callbacks.append(Quantizer(stage.quantization, model))
    arguments = training_arguments(stage, seed, scratch, options)
    train = data.train
    if isinstance(train, StreamedRows):
        rows = arguments.per_device_train_batch_size
        train = parts["stream"] = train.loader(stage.batch_size, seed, rows, data_workers(options.workers))
        arguments.ignore_data_skip = True  # the stream itself goes on where it was
    checkpoints = Checkpoints(scratch, parts)
    checkpoint = checkpoints.resume()
    assert isinstance(curve, ValidationCurve)  # noqa: S101 - for the type checker
    watched = StageWatch(watch, label, stage, seed, step_of(checkpoint))
    meter = Meter(current_sparsity(model, pruner))
    watchers = watched.callbacks(meter, pruner, lambda: curve.seconds, options)
    trainer = SparseTrainer(
        objective=OBJECTIVES[stage.objective.kind],
        learning_rate_factor=_learning_rate_factor(stage, pruner),
        teacher=teacher,
        distillation=stage.distillation,
        mask=data.mask,
        group_by_length=stage.group_by_length,
        meter=meter,
        model=model,
        args=arguments,
        train_dataset=train,
        data_collator=data.collate,
        callbacks=[*callbacks, checkpoints, *watchers, Interruption(label, scratch)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.args.run_name, trainer.args.project = watched.name, PROJECT
    if pruner is not None and stage.pruning is not None:
        batch_size = (stage.pruning.fisher or Fisher()).batch_size
        streamed = isinstance(data.train, StreamedRows)
        sample = data.train.sample(stage.batch_size, seed) if streamed else data.train
        pruner.gradients = lambda update: sample_gradients(
            model,
            pruner.modules,
            trainer.compute_loss,
            sample,
            data.mask,
            data.collate,
            batch_size,
            row_seed(seed, update),
        )
    compiled = [each for each in (model, teacher) if each is not None and options.compile]
    with watched.recorded(_num_rows(data), options), deferred(), compiled_layers(compiled):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.is_fsdp_enabled:
        model = _gathered(stage, model, load_student(stage, sources, data.labels))
        curve.best_of = model if stage.keep == "best" else None
    model.config.output_hidden_states = model.config.output_attentions = False  # what distillation asked for
    evaluation = data.evaluate(model)
    if curve.keep_best(_shared(evaluation).score):
        evaluation = data.evaluate(model)
    result = stage_result(stage, seed, trainer.state.global_step, evaluation, model, curve)
    watched.finished(
        result.steps,
        validation_loss=result.validation_loss,
        metric=result.metric,
        score=result.score,
        seconds=result.seconds,
    )
    return model, result


def _with_steps(stage: Stage, data: StageData, max_steps: int | None) -> Stage:
    """Return the stage with its length and every point of it in optimizer steps."""
    num_rows = _num_rows(data)
    if num_rows is not None:
        return in_steps(stage, math.ceil(num_rows / stage.batch_size), max_steps)
    # In epochs of a stream, a stage has been refused unless it is cut to steps: they are all of it then.
    return in_steps(stage, math.ceil((max_steps or 1) / stage.length), max_steps)


def _num_rows(data: StageData) -> int | None:
    return None if isinstance(data.train, StreamedRows) else len(data.train)


def _gathered(stage: Stage, model: PreTrainedModel, fresh: PreTrainedModel) -> PreTrainedModel:
    if stage.quantization is not None:
        quantizer = Quantizer(stage.quantization, fresh)
        gathered(model, fresh)
        freeze_ranges(quantizer.layers)
        return fresh
    return gathered(model, fresh)


def _check_logits(stage: Stage, model: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
    if teacher is None or not stage.is_language_modelling:
        return
    if teacher.config.vocab_size != model.config.vocab_size:
        raise RecipeError(
            f"stage {stage.name}: the teacher has a vocabulary of {teacher.config.vocab_size}, "
            f"the student of {model.config.vocab_size}; distillation needs the same one"
        )


def _guard(
    stage: Stage, label: str, model: PreTrainedModel, scratch: Path, pruner: Pruner | None
) -> LossGuard:
    bounds = loss_bounds(stage, model.config.vocab_size, model.config.num_labels or 0)
    quantized_from = None if stage.quantization is None else int(stage.quantization.start)
    return LossGuard(label, bounds, scratch, pruner, quantized_from)


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
