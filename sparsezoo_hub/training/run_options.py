"""Run options: what a run sets for all of its stages, whatever its recipe."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class RunOptions(BaseModel):
    """What a run sets for all of its stages.

    Args:
        max_steps: shortens every stage to at most this.
        checkpoint_every: optimizer steps between two checkpoints.
        bf16: whether models compute in bfloat16 where autocast allows it; their weights stay float32.
        report_to: names of ``training.reporters``: what else is told how the run goes.
        per_device_batch: the most rows that a process takes at once; more of them are accumulated. None: its
            whole part of a recipe's batch.
        stream: whether text that is given is read as it comes, not into memory (``training.streams``).
        workers: processes that read streamed text for each training process; None: 4 beside a GPU, none on a
            CPU.
        token_cache: a folder where streamed text is kept tokenized; None keeps none.
        compile: whether the encoders' layers are compiled (``training.compilation``).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_steps: int | None = None
    checkpoint_every: int = 500
    bf16: bool = False
    report_to: tuple[str, ...] = ()
    per_device_batch: int | None = None
    stream: bool = False
    workers: int | None = None
    token_cache: Path | None = None
    compile: bool = False
