"""One training run: a stage of a recipe with one seed."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from pydantic import BaseModel, ConfigDict
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from sparsezoo_hub.core.learning_rates import LEARNING_RATES
from sparsezoo_hub.core.pattern_lock import PatternLock, is_locked
from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.core.sparsity_report import measure_sparsity, overall_sparsity
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.errors import LockError, RecipeError
from sparsezoo_hub.training.evaluation import Evaluation, evaluate
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.plateau import PlateauStop
from sparsezoo_hub.training.processes import on_cpu, process_state
from sparsezoo_hub.training.progress import EVERY, ProgressCallback, Watcher
from sparsezoo_hub.training.pruner import Pruner
from sparsezoo_hub.training.stage_data import StageData
from sparsezoo_hub.training.trainer import SparseTrainer


class StageResult(BaseModel):
    """What one training run came to; ``sparsity`` is over the locked weights, None without a lock."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    seed: int
    steps: int
    seconds: float
    validation_loss: float
    validation_accuracy: float
    num_predictions: int
    sparsity: float | None
    num_locked: int
    zeros_changed: int


def train_stage(
    stage: Stage,
    seed: int,
    source: str,
    teacher_source: str | None,
    tokenizer: PreTrainedTokenizerBase,
    data: StageData,
    scratch: Path,
    watcher: Watcher,
) -> tuple[PreTrainedModel, StageResult]:
    """Return the trained model and what it came to.

    Args:
        stage: what to do.
        seed: of the head's initial weights, the order of the data and dropout.
        source: a folder or Hub id, the model to start from.
        teacher_source: the same for the teacher.
        tokenizer: of both.
        data: the stage's examples.
        scratch: a folder that the Trainer may write to.
        watcher: is told about progress.

    Raises:
        LockError: if the pattern is to be locked and the model has none.
        RecipeError: if the batch size cannot be split over the processes, the model's positions do not
            reach, the teacher was trained for something else, or has another vocabulary.
        TargetError: if a pruning target matches no weight.
    """
    began = time.monotonic()
    set_seed(seed)
    model = _load(stage, source, data)
    _prepare_lock(stage, model, source)
    teacher = None if teacher_source is None else _load(stage, teacher_source, data, trained=True)
    _check_vocabulary(stage, model, teacher)
    _check_length(stage, model, tokenizer)
    objective = OBJECTIVES[stage.objective.kind]
    judge = partial(evaluate, model, objective, data.validation, data.collate_validation)
    pruner = None if stage.pruning is None else Pruner(stage.pruning, model)
    label = stage.name if len(stage.seeds) == 1 else f"{stage.name} seed {seed}"
    callbacks: list[TrainerCallback] = [ProgressCallback(label, watcher, pruner)]
    if pruner is not None:
        callbacks.insert(0, pruner)
    if stage.plateau is not None:
        start = 0 if stage.pruning is None else stage.pruning.end
        callbacks.append(PlateauStop(stage.plateau, lambda: _shared(judge().loss), start))
    trainer = SparseTrainer(
        objective=objective,
        learning_rate_factor=_learning_rate_factor(stage, pruner),
        teacher=teacher,
        distillation=stage.distillation,
        model=model,
        args=_arguments(stage, seed, scratch),
        train_dataset=data.train,
        data_collator=data.collate,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return model, _result(stage, seed, trainer.state.global_step, judge(), model, time.monotonic() - began)


def _shared(loss: float) -> float:
    """Return the main process's loss: all must stop at the same step, and the last digits may differ."""
    return float(broadcast(torch.tensor(loss, device=process_state().device)))


def _load(stage: Stage, source: str, data: StageData, trained: bool = False) -> PreTrainedModel:
    """Return the model; with ``trained``, one whose head is not made up here."""
    arguments: dict[str, Any] = {}
    if data.labels:
        arguments["id2label"] = dict(enumerate(data.labels))
        arguments["label2id"] = {label: index for index, label in enumerate(data.labels)}
    auto_class = OBJECTIVES[stage.objective.kind].auto_class
    model: PreTrainedModel
    model, loading = auto_class.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, **arguments
    )
    if trained and loading["missing_keys"]:
        raise RecipeError(
            f"stage {stage.name}: the teacher {source} has no {min(loading['missing_keys'])}: it was not "
            f"trained for {stage.objective.kind}; name a stage of that objective as the teacher"
        )
    return model


def _prepare_lock(stage: Stage, model: PreTrainedModel, source: str) -> None:
    """Keep the lock that came with the model if the stage wants it, else release it."""
    if stage.lock and not is_locked(model):
        raise LockError(f"stage {stage.name} locks the pattern of {source}, which has none: prune it first")
    if not stage.lock:
        PatternLock.unlock(model)


def _check_vocabulary(stage: Stage, model: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
    if teacher is not None and teacher.config.vocab_size != model.config.vocab_size:
        raise RecipeError(
            f"stage {stage.name}: the teacher has a vocabulary of {teacher.config.vocab_size}, "
            f"the student of {model.config.vocab_size}; distillation needs the same one"
        )


def _check_length(stage: Stage, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    positions = getattr(model.config, "max_position_embeddings", stage.max_length)
    longest = min(positions, tokenizer.model_max_length)
    if stage.max_length > longest:
        raise RecipeError(
            f"stage {stage.name}: max_length {stage.max_length} is more than the {longest} tokens that the "
            "model takes; lower it, or choose a backbone with more positions"
        )


def _learning_rate_factor(stage: Stage, pruner: Pruner | None) -> Any:
    return partial(
        LEARNING_RATES[stage.learning_rate.schedule],
        total=stage.steps,
        warmup=round(stage.learning_rate.warmup_ratio * stage.steps),
        window=None if pruner is None else pruner.window,
    )


def _arguments(stage: Stage, seed: int, scratch: Path) -> TrainingArguments:
    processes = process_state().num_processes
    if stage.batch_size % processes:
        raise RecipeError(
            f"stage {stage.name}: batch_size {stage.batch_size} cannot be split over {processes} processes"
        )
    return TrainingArguments(
        output_dir=str(scratch),
        use_cpu=on_cpu(),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size // processes,
        learning_rate=stage.learning_rate.peak,
        weight_decay=stage.weight_decay,
        seed=seed,
        save_strategy="no",
        logging_steps=EVERY,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )


def _result(
    stage: Stage, seed: int, steps: int, evaluation: Evaluation, model: PreTrainedModel, seconds: float
) -> StageResult:
    masks = PatternLock.masks(model)
    modules = linear_modules(model)
    return StageResult(
        stage=stage.name,
        seed=seed,
        steps=steps,
        seconds=round(seconds, 2),
        validation_loss=evaluation.loss,
        validation_accuracy=evaluation.accuracy,
        num_predictions=evaluation.num_predictions,
        sparsity=overall_sparsity(measure_sparsity({name: modules[name].weight for name in masks}))
        if masks
        else None,
        num_locked=sum(int((~mask).sum()) for mask in masks.values()),
        zeros_changed=PatternLock.revived(model),
    )
