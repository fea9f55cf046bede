"""Training arguments: a stage's settings in the words of transformers' Trainer."""

from pathlib import Path

from transformers import TrainingArguments

from sparsezoo_hub.core.recipe import OPTIMIZERS, Stage
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.processes import on_cpu, process_state
from sparsezoo_hub.training.progress import EVERY
from sparsezoo_hub.training.run_options import RunOptions


def training_arguments(stage: Stage, seed: int, scratch: Path, options: RunOptions) -> TrainingArguments:
    """Return the Trainer's arguments for a stage in optimizer steps.

    Raises:
        RecipeError: if the batch size cannot be split over the processes.
    """
    processes = process_state().num_processes
    if stage.batch_size % processes:
        raise RecipeError(
            f"stage {stage.name}: batch_size {stage.batch_size} cannot be split over {processes} processes"
        )
    return TrainingArguments(
        output_dir=str(scratch),
        use_cpu=on_cpu(),
        bf16=options.bf16,
        max_steps=int(stage.length),
        per_device_train_batch_size=stage.batch_size // processes,
        learning_rate=stage.learning_rate.peak,
        weight_decay=stage.weight_decay,
        optim=OPTIMIZERS[stage.optimizer],
        seed=seed,
        save_strategy="steps",
        save_steps=options.checkpoint_every,
        save_total_limit=2,
        logging_steps=EVERY,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
