"""A run: the stages of a recipe in order, each kept when it is finished, so that a second start goes on."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.core.recipe_text import recipe_text, scaled
from sparsezoo_hub.errors import CorpusError, RecipeError, write_errors
from sparsezoo_hub.training.backbones import check_targets, make_backbone
from sparsezoo_hub.training.corpora import Document, read_text_files, split_by_document
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.progress import Progress, Watcher
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.stage_data import StageData, check_data, load_stage_data
from sparsezoo_hub.training.stage_training import StageResult, train_stage

VALIDATION_FRACTION = 0.05
RESULT = "result.json"


def ignore_progress(progress: Progress) -> None:
    """Show nothing."""


class RecipeRun:
    """Runs the stages of a recipe under one folder.

    Args:
        recipe: what to do.
        out: the run's folder; a finished stage found there is not run again.
        text: files for masked LM (txt, jsonl, jsonl.gz); without any, Python's own documentation.
        backbone: a folder or Hub id instead of the recipe's.
        max_steps: shortens every stage to at most this, its windows in proportion.
        watcher: is told about progress.

    Raises:
        CorpusError: if a text file is missing.
        PackageError: if the folder cannot be written.
        RecipeError: if the folder holds a run of another recipe or of other options, or a stage's data
            does not fit its objective.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        text: Sequence[Path] = (),
        backbone: str | None = None,
        max_steps: int | None = None,
        watcher: Watcher = ignore_progress,
    ) -> None:
        self.recipe = scaled(recipe, max_steps)
        self.out = out
        self.text = tuple(text)
        self.override = backbone
        self.max_steps = max_steps
        self.watcher = watcher
        self._data: dict[tuple[str, int, str], StageData] = {}
        check_data(self.recipe)
        self._claim()

    @cached_property
    def documents(self) -> tuple[list[Document], list[Document]]:
        """Training and validation documents of the run's text."""
        documents = read_text_files(self.text) if self.text else python_documentation()
        return split_by_document(documents, VALIDATION_FRACTION, seed=0)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The backbone's tokenizer."""
        return AutoTokenizer.from_pretrained(self.out / "backbone")

    def make_backbone(self) -> None:
        """Write the backbone's folder unless it is there.

        Raises:
            BackboneError: if it cannot be made, or is of another architecture.
            TargetError: if a stage of the recipe prunes what the backbone does not have.
        """
        train, _ = self.documents
        folder = self.out / "backbone"
        self._write_once(
            folder, lambda aside: make_backbone(self.recipe.backbone, train, aside, self.override)
        )
        check_targets(self.recipe, folder)

    def run_stage(self, name: str, models: dict[str, str] | None = None) -> list[StageResult]:
        """Return the results of a stage, one per seed; what is missing is trained.

        Args:
            name: a stage whose model and teacher are finished.
            models: Hub ids or folders that take the place of earlier stages' own models.
        """
        stage = self.recipe.stage(name)
        return [self._run_seed(stage, seed, models or {}) for seed in stage.seeds]

    def model_folder(self, name: str) -> Path:
        """Return where the model of a stage (of its first seed), or the backbone, lies."""
        if name == "backbone":
            return self.out / "backbone"
        stage = self.recipe.stage(name)
        return self._seed_folder(stage, stage.seeds[0])

    def _run_seed(self, stage: Stage, seed: int, models: dict[str, str]) -> StageResult:
        folder = self._seed_folder(stage, seed)
        if not (folder / RESULT).exists():
            model, result = train_stage(
                stage,
                seed,
                models.get(stage.model, str(self.model_folder(stage.model))),
                stage.teacher and models.get(stage.teacher, str(self.model_folder(stage.teacher))),
                self.tokenizer,
                self._stage_data(stage),
                self.out / "trainer",
                self.watcher,
            )
            self._write_once(folder, lambda partial: self._save(partial, model, result))
        return StageResult.model_validate_json((folder / RESULT).read_text())

    def _stage_data(self, stage: Stage) -> StageData:
        key = (stage.data, stage.max_length, stage.objective.model_dump_json())
        if key not in self._data:
            self._data[key] = load_stage_data(stage, self.tokenizer, *self.documents)
        return self._data[key]

    def _seed_folder(self, stage: Stage, seed: int) -> Path:
        return self.out / "stages" / stage.name / f"seed-{seed}"

    def _save(self, folder: Path, model: PreTrainedModel, result: StageResult) -> None:
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / RESULT).write_text(result.model_dump_json(indent=2))

    def _claim(self) -> None:
        """Refuse a folder of another run, whose finished stages would be taken for ours."""
        text = "".join(f"# text: {path.resolve()} sha256:{_sha256(path)}\n" for path in self.text)
        mark = f"# backbone: {self.override}\n{text}{recipe_text(self.recipe)}"
        path = self.out / "run.yaml"
        if process_state().is_main_process and not path.exists():
            with write_errors(self.out):
                self.out.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f"{path.name}.partial")
                partial.write_text(mark)
                partial.replace(path)
        process_state().wait_for_everyone()  # the others compare what the main process has written
        if path.read_text() != mark:
            raise RecipeError(
                f"{self.out} holds a run of another recipe, text, backbone or length: "
                "choose another --out, or delete that folder"
            )

    def _write_once(self, folder: Path, write: Callable[[Path], None]) -> None:
        """Write a folder aside and move it into place; only the main process writes."""
        if process_state().is_main_process and not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            with write_errors(folder):
                partial.mkdir(parents=True)
                write(partial)
                partial.rename(folder)
        process_state().wait_for_everyone()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error
