"""Run options: what a run sets for all of its stages, whatever its recipe."""

from pydantic import BaseModel, ConfigDict


class RunOptions(BaseModel):
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
