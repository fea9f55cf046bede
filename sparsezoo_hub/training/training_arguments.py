"""Training arguments: a stage's settings in the words of transformers' Trainer."""

from pathlib import Path

from transformers import TrainingArguments

from sparsezoo_hub.core.recipe import OPTIMIZERS, Stage
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.checkpoint_files import UNFINISHED
from sparsezoo_hub.training.processes import on_cpu, process_state
from sparsezoo_hub.training.progress import EVERY
from sparsezoo_hub.training.run_options import RunOptions


def training_arguments(stage: Stage, seed: int, scratch: Path, options: RunOptions) -> TrainingArguments:
    """Return the Trainer's arguments for a stage in optimizer steps.

    Raises:
        RecipeError: if the batch size cannot be split.
    """
    rows, accumulated = split_batch(stage, process_state().num_processes, options.per_device_batch)
    arguments = TrainingArguments(
        output_dir=str(scratch / UNFINISHED),  # Checkpoints moves what is complete, and deletes what is old
        use_cpu=on_cpu(),
        bf16=options.bf16,
        max_steps=int(stage.length),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulated,
        learning_rate=stage.learning_rate.peak,
        weight_decay=stage.weight_decay,
        optim=OPTIMIZERS[stage.optimizer],
        seed=seed,
        save_strategy="steps",
        save_steps=options.checkpoint_every,
        logging_steps=EVERY,
        logging_nan_inf_filter=False,  # it would hide what the loss guard looks for, and wait for the device
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        # Every head uses all of its model: DDP need not look for parameters that are left out.
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
    )
    # A process that sees several GPUs takes one: torch's DataParallel would give each a whole batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def split_batch(stage: Stage, processes: int, per_device: int | None) -> tuple[int, int]:
    """Return how many rows each process takes at once, and how often it does so for one optimizer step.

    Args:
        stage: its batch size is that of all processes together.
        processes: at least 1.
        per_device: the most rows at once; None for any number.

    Raises:
        RecipeError: if the batch size is not a multiple of both.
    """
    rows, left = divmod(stage.batch_size, processes)
    if left:
        raise RecipeError(
            f"stage {stage.name}: batch_size {stage.batch_size} cannot be split over {processes} processes; "
            f"start {_largest_divisor(stage.batch_size, processes)} of them"
        )
    if per_device is None or rows <= per_device:
        return rows, 1
    if rows % per_device:
        raise RecipeError(
            f"stage {stage.name}: batch_size {stage.batch_size} leaves each of {processes} processes {rows} "
            f"rows, which are no multiple of a per-device batch of {per_device}; take "
            f"{_largest_divisor(rows, per_device)}"
        )
    return per_device, rows // per_device


def _largest_divisor(number: int, most: int) -> int:
    return next(each for each in range(most, 0, -1) if number % each == 0)
