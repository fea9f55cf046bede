"""Reporters: programs that show how a run goes, through transformers' own callbacks."""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import TensorBoardCallback, TrackioCallback, WandbCallback

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.processes import process_state

# Each is also the name of the package that it needs.
REPORTERS = ("tensorboard", "trackio", "wandb")
PROJECT = "sparsezoo-hub"
_FOLDER = "TENSORBOARD_LOGGING_DIR"


def check_reporters(names: Sequence[str]) -> None:
    """Refuse a reporter that is unknown, or whose package is not installed.

    Raises:
        RecipeError: in both cases.
    """
    for name in names:
        try:
            check_choice(name, REPORTERS, "--report-to")
        except ValueError as error:
            raise RecipeError(str(error)) from None
        found = find_spec(name)
        if found is None or found.origin is None:  # W&B leaves a folder of its name, which imports as empty
            raise RecipeError(f"--report-to {name}: that package is not installed; pip install {name}")


def reporters(
    names: Sequence[str], folder: Path, run: str, step: int, is_main: bool
) -> list[TrainerCallback]:
    """Return the callbacks for one stage with one seed.

    Args:
        names: of ``REPORTERS``, each installed.
        folder: of the whole run; TensorBoard's events go to ``tensorboard/`` in it, or to the folder that the
            environment's TENSORBOARD_LOGGING_DIR names.
        run: its name: recipe, stage and seed with slashes between them.
        step: that training goes on from; what an earlier start reported after it is hidden.
        is_main: whether this is the process that reports.
    """
    place = Path(os.environ.get(_FOLDER) or folder / "tensorboard").expanduser() / run
    makers: dict[str, Callable[[], TrainerCallback]] = {
        "tensorboard": lambda: TensorBoardCallback(_summary_writer(place, step) if is_main else None),  # type: ignore[no-untyped-call]
        "trackio": TrackioCallback,
        "wandb": _StageWandb,
    }
    return [makers[name]() for name in dict.fromkeys(names)]


def _summary_writer(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - needs the package tensorboard

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


class _StageWandb(WandbCallback):
    """Ends W&B's run with the stage, so that the next one gets a run of its own."""

    def on_train_begin(self, *arguments: Any, **kwargs: Any) -> None:
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
        super().on_train_begin(*arguments, **kwargs)  # type: ignore[no-untyped-call]

    def on_train_end(self, *arguments: Any, **kwargs: Any) -> None:
        super().on_train_end(*arguments, **kwargs)
        if process_state().is_main_process:
            self._wandb.finish()
