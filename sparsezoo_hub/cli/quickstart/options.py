"""What a quickstart was asked for, and the run of its recipe."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sparsezoo_hub.core.recipe import BACKBONE
from sparsezoo_hub.training.progress import Watcher
from sparsezoo_hub.training.recipe_library import load_recipe
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_text import EVERY

RECIPE = "quickstart/bert-tiny-90"
REPO_ID = "local/quickstart-bert-90"
_FILE = "options.json"


class Options(BaseModel):
    """Options of the verb; ``out`` and ``text`` are absolute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path
    text: list[Path]
    backbone: str | None

    def write(self) -> None:
        """Keep them for the steps that run in a process of their own."""
        (self.out / _FILE).write_text(self.model_dump_json(indent=2))

    @classmethod
    def read(cls, out: Path) -> "Options":
        """Return what ``write`` kept."""
        return cls.model_validate_json((out / _FILE).read_text())


def open_run(options: Options, watcher: Watcher) -> RecipeRun:
    """Return the run under ``out/run``.

    Raises:
        RecipeError: if the folder holds a quickstart with other options.
    """
    return RecipeRun(
        load_recipe(RECIPE),
        options.out / "run",
        text={EVERY: options.text} if options.text else {},
        parents={BACKBONE: options.backbone} if options.backbone else {},
        watcher=watcher,
    )
