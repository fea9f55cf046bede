"""A run: the stages of a recipe in order, each kept when it is finished, so that a second start goes on."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core import tiny
from sparsezoo_hub.core.fake_quantization import (
    fake_quantized,
    learned_ranges,
    ranges_tensors,
    remove_fake_quantization,
)
from sparsezoo_hub.core.lineage import root_of
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.objective_settings import MaskedLMNextSentence
from sparsezoo_hub.core.quantization_names import LEARNED, RANGES_FILE
from sparsezoo_hub.core.recipe import BACKBONE, Recipe, Stage
from sparsezoo_hub.core.recipe_text import recipe_text
from sparsezoo_hub.errors import RecipeError, write_errors
from sparsezoo_hub.training.backbones import check_targets, make_backbone
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.durable import move_into_place
from sparsezoo_hub.training.evaluation import Evaluation
from sparsezoo_hub.training.lost_workers import lost_workers
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.progress import Progress, Watcher
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.recipe_library import parents_sparsities
from sparsezoo_hub.training.reporters import check_reporters
from sparsezoo_hub.training.run_log import LOG, RunLog
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.run_text import known_commits
from sparsezoo_hub.training.sharded_training import check_launch
from sparsezoo_hub.training.stage_data import RunData
from sparsezoo_hub.training.stage_models import Sources, check_vocabulary, load_finished
from sparsezoo_hub.training.stage_result import StageResult
from sparsezoo_hub.training.stage_training import train_stage
from sparsezoo_hub.training.training_arguments import split_batch
from sparsezoo_hub.training.watching import Watch
from sparsezoo_hub.training.whole_text import write_text

MARK = "run.yaml"
RESULT = "result.json"
TEST = "test.json"


class Measured(BaseModel):
    """A model on a test set: every metric of the task, each in [0, 1], and the main one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: dict[str, float]
    score: float


def ignore_progress(progress: Progress) -> None:
    """Show nothing."""


class RecipeRun:
    """Runs the stages of a recipe under one folder.

    Args:
        recipe: what to do.
        out: the run's folder; a finished stage found there is not run again, one that was interrupted goes on
            from its last checkpoint.
        text: files, folders, patterns and ``hf://`` addresses of text for masked LM, by corpus or by
            ``CORPUS.PART``, ``""`` for every corpus.
        data: folders of task data by task, ``""`` for every task.
        parents: a folder or Hub id by parent, instead of the recipe's; ``tiny`` for the backbone makes every
            parent and the stages small (``core.tiny``).
        options: for all stages.
        watcher: is told about progress.
        tell: is told, in one line, what a stage begins with.

    Raises:
        CorpusError: if a text file is missing, or text is too large for memory.
        PackageError: if the folder cannot be written.
        RecipeError: if the folder holds a run of another recipe or of other options, a stage's data does not
            fit its objective, or an option names what the recipe does not have.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        text: Mapping[str, Sequence[str | Path]] | None = None,
        data: Mapping[str, Path] | None = None,
        parents: Mapping[str, str] | None = None,
        options: RunOptions = RunOptions(),  # noqa: B008 - frozen
        watcher: Watcher = ignore_progress,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        check_launch(recipe)
        check_reporters(options.report_to)
        recipe.stage(recipe.package)  # there is nothing to run in an imported model's
        overrides = dict(parents or {})
        for name in overrides:
            try:
                check_choice(name, recipe.parents, f"parent of recipe {recipe.name}")
            except ValueError as error:
                raise RecipeError(str(error)) from None
        if overrides.get(BACKBONE) == tiny.NAME:
            recipe = tiny.tiny(recipe, parents_sparsities(recipe))
            overrides = {}
        for stage in recipe.stages:  # refuse what a later one would only find after hours
            split_batch(stage, process_state().num_processes, options.per_device_batch)
        self.recipe = recipe
        self.out = out
        self.overrides = overrides
        self.options = options
        self.watch = Watch(recipe, out, watcher, tell, RunLog(out / LOG))
        self.data = RunData(self.recipe, text or {}, data or {}, options, known_commits(out / MARK))
        self._claim()

    @property
    def documents(self) -> tuple[list[Document], list[Document]]:
        """Training and validation documents of the first corpus, or of Python's documentation without one."""
        corpus = self.data.first_corpus()
        return ([*python_documentation()], []) if corpus is None else self.data.documents(corpus)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the parent that the packaged model comes from, once that was made."""
        root = root_of(self.recipe, self.recipe.package)
        return AutoTokenizer.from_pretrained(self.model_folder(root))

    def make_parents(self) -> None:
        """Write the folder of every parent that is not there.

        Raises:
            BackboneError: if one cannot be made, or is of another architecture.
            RecipeError: if a stage does not fit its parent, or a parent that is used has another vocabulary
                than the packaged model's.
            TargetError: if a stage of the recipe prunes what its parent does not have.
        """
        pairs = any(isinstance(each.objective, MaskedLMNextSentence) for each in self.recipe.stages)
        shared: Path | None = None
        for name, parent in self.recipe.parents.items():
            folder = self.model_folder(name)
            train = self.documents[0] if parent.vocab_size is not None else []
            self._write_once(
                folder,
                lambda aside, parent=parent, train=train, name=name, shared=shared: make_backbone(  # type: ignore[misc]
                    parent,
                    train,
                    aside,
                    self.overrides.get(name),
                    next_sentence=pairs,
                    tokenizer_of=shared,
                ),
            )
            shared = shared or folder
        check_targets(self.recipe, self.model_folder)
        used = {
            root_of(self.recipe, each): stage.name
            for stage in self.recipe.stages
            for each in (stage.model, stage.teacher)
            if each is not None
        }
        for root, stage_name in used.items():
            check_vocabulary(stage_name, self.model_folder(root), self.tokenizer)

    def run_stage(self, name: str, models: dict[str, str] | None = None) -> list[StageResult]:
        """Return the results of a stage, one per seed; what is missing is trained.

        Args:
            name: a stage whose model and teacher are finished.
            models: Hub ids or folders that take the place of earlier stages' own models.
        """
        stage = self.recipe.stage(name)
        return [self.run_seed(name, seed, models) for seed in stage.seeds]

    def model_folder(self, name: str) -> Path:
        """Return where a parent, or the model of a stage, lies.

        Of several seeds, that is the first one's; where the stage keeps its best, that of the highest score.
        """
        if name in self.recipe.parents:
            return self.out / "parents" / name
        stage = self.recipe.stage(name)
        folders = [self._seed_folder(stage, seed) for seed in stage.seeds]
        return max(folders, key=_score) if stage.keep == "best" else folders[0]

    @lost_workers()
    def run_seed(self, name: str, seed: int, models: dict[str, str] | None = None) -> StageResult:
        """Return the result of a stage with one of its seeds; trained if it is missing.

        Args:
            name: as in ``run_stage``.
            seed: one of the stage's.
            models: as in ``run_stage``.
        """
        stage = self.recipe.stage(name)
        models = models or {}
        folder = self._seed_folder(stage, seed)
        scratch = folder.with_name(f"{folder.name}.checkpoints")
        if not (folder / RESULT).exists():
            model, result = train_stage(
                stage,
                seed,
                Sources(
                    models.get(stage.model, str(self.model_folder(stage.model))),
                    stage.teacher and models.get(stage.teacher, str(self.model_folder(stage.teacher))),
                    self.tokenizer,
                ),
                self.data.stage_data(stage, self.tokenizer, seed),
                scratch,
                self.options,
                self.watch,
            )
            self._write_once(folder, lambda partial: self._save(partial, model, result))
        if process_state().is_main_process:
            shutil.rmtree(scratch, ignore_errors=True)
        return StageResult.model_validate_json((folder / RESULT).read_text())

    def test_stage(self, name: str) -> list[Measured]:
        """Return what a finished stage's models are worth on the task's test set, one per seed.

        Each is measured once; asked again, the same is read back. None without a test set.

        Raises:
            CorpusError: if a metric is undefined on it.
        """
        stage = self.recipe.stage(name)
        evaluate = self.data.stage_data(stage, self.tokenizer, stage.seeds[0]).evaluate_test
        return [] if evaluate is None else [self._test_seed(stage, seed, evaluate) for seed in stage.seeds]

    def _test_seed(
        self, stage: Stage, seed: int, evaluate: Callable[[PreTrainedModel], Evaluation]
    ) -> Measured:
        path = self._seed_folder(stage, seed) / TEST
        if not path.exists():
            found = evaluate(load_finished(stage, path.parent))
            metrics = dict(found.metrics) or {"accuracy": found.accuracy}
            measured = Measured(metrics=metrics, score=found.score)
            write_text(path, measured.model_dump_json(indent=2))
        return Measured.model_validate_json(path.read_text())

    def _seed_folder(self, stage: Stage, seed: int) -> Path:
        return self.out / "stages" / stage.name / f"seed-{seed}"

    def _save(self, folder: Path, model: PreTrainedModel, result: StageResult) -> None:
        ranges = learned_ranges(fake_quantized(model))
        if ranges:
            save_file(ranges_tensors(ranges), folder / RANGES_FILE, {"method": LEARNED})
            remove_fake_quantization(model)
        model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / RESULT).write_text(result.model_dump_json(indent=2))

    def _claim(self) -> None:
        """Refuse a folder of another run, whose finished stages would be taken for ours."""
        mark = "".join(f"# {line}\n" for line in self._inputs()) + recipe_text(self.recipe)
        path = self.out / MARK
        if process_state().is_main_process and not path.exists():
            with write_errors(self.out):
                self.out.mkdir(parents=True, exist_ok=True)
                write_text(path, mark)
        process_state().wait_for_everyone()  # the others compare what the main process has written
        if path.read_text() != mark:
            raise RecipeError(
                f"{self.out} holds a run of another recipe, text, backbone or length: "
                "choose another --out, or delete that folder"
            )

    def _inputs(self) -> list[str]:
        """Return what a run's results depend on beside its recipe, a line each."""
        lines = [f"parent {name}: {source}" for name, source in sorted(self.overrides.items())]
        lines += [f"at most {self.options.max_steps} steps"] if self.options.max_steps is not None else []
        lines += ["bf16"] if self.options.bf16 else []
        lines += ["compiled"] if self.options.compile else []
        return lines + self.data.lines()

    def _write_once(self, folder: Path, write: Callable[[Path], None]) -> None:
        """Write a folder aside and move it into place; only the main process writes."""
        if process_state().is_main_process and not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            with write_errors(folder):
                partial.mkdir(parents=True)
                write(partial)
                move_into_place(partial, folder)
        process_state().wait_for_everyone()


def _score(folder: Path) -> float:
    return StageResult.model_validate_json((folder / RESULT).read_text()).score
