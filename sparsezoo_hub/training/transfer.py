"""Transfer: a model, sparse or dense, fine-tuned on a task, over a grid and several seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import AutoConfig

from sparsezoo_hub.core.names import slug
from sparsezoo_hub.core.objective_settings import TaskSettings
from sparsezoo_hub.core.pattern_lock import QUANT_METHOD
from sparsezoo_hub.core.recipe import BACKBONE, Parent, Recipe
from sparsezoo_hub.core.recipe_problems import inconsistencies, path_text
from sparsezoo_hub.core.search_grids import Grid, Point, grid_points, point_label
from sparsezoo_hub.errors import BackboneError, RecipeError
from sparsezoo_hub.training.backbones import num_positions
from sparsezoo_hub.training.progress import Watcher
from sparsezoo_hub.training.run import Measured, RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.run_text import EVERY
from sparsezoo_hub.training.stage_result import StageResult
from sparsezoo_hub.training.tasks import find_task
from sparsezoo_hub.training.tasks.task_format import QUESTION, TEXT, WORDS

TEACHER, TRANSFER, QUANTIZED = "teacher", "transfer", "quantized"
TASK_TEACHER = "task-teacher"

# Epochs, batch size, learning rate. Texts and questions: Prune OFA, table 6, the middle of its grid and the
# lower of two learning rates; words: Sparse*BERT, section 4.3.
_DEFAULTS: Mapping[str, tuple[float, int, float]] = {
    TEXT: (6, 32, 1e-4),
    QUESTION: (8, 12, 1.5e-4),
    WORDS: (10, 16, 5e-5),
}
# Of a dense task teacher: from BERT's own grid (Devlin et al., 2019, appendix A.3).
_TEACHER = {"epochs": 3, "batch_size": 16, "learning_rate": {"peak": 3e-5}, "weight_decay": 0.01}
_DISTILLATION = {"hardness": 1.0, "temperature": 2.0}  # Prune OFA, table 6
# Quantization-aware training: Prune OFA, table 7, the higher of the rates that SQuAD and GLUE have in common.
_QUANTIZED = {"epochs": 2, "learning_rate": {"peak": 1e-5}}


@dataclass(frozen=True)
class TransferSettings:
    """What to do. Without a value, that of the papers for this kind of task is taken.

    Args:
        model: a folder or Hub id; if it is locked, its pattern stays locked.
        task: a name of the catalogue.
        teacher: a dense model that is fine-tuned on the task first, and teaches (hardness 1, Prune OFA,
            appendix E.2); None for the labels alone.
        grid: values by ``learning_rate``, ``weight_decay``, ``warmup_ratio`` or ``epochs``.
        trials: how many points of the grid are tried; None for all.
        batch_size: examples of an optimizer step.
        max_length: tokens.
        seeds: of the models that are made with the best point.
        freeze_embeddings: whether the embeddings stand still.
        quantize: whether a quantization-aware session follows (Prune OFA, appendix D).
        fraction: share of the training examples.
        own: what the user's files look like, where they differ from the task's format.
        name: what the model is called; that of its folder or its Hub id if None.
    """

    model: str
    task: str
    teacher: str | None = None
    grid: Grid = field(default_factory=dict)
    trials: int | None = None
    batch_size: int | None = None
    max_length: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    freeze_embeddings: bool = False
    quantize: bool = False
    fraction: float = 1.0
    own: TaskSettings = field(default_factory=TaskSettings)
    name: str | None = None


@dataclass(frozen=True)
class Trial:
    """One point of the grid with the first seed: its label, hyper-parameters, and score on validation."""

    label: str
    point: Point
    score: float


@dataclass(frozen=True)
class Transferred:
    """A finished transfer.

    Args:
        run: of the best point; its packaged stage is finished with every seed.
        results: by stage, one per seed.
        trials: every point that was tried, the best one first; one if there was no search.
        test: the packaged stage's models on the test set, one per seed; none without a test set.
    """

    run: RecipeRun
    results: dict[str, list[StageResult]]
    trials: list[Trial]
    test: list[Measured]


def transfer(
    settings: TransferSettings, out: Path, data: Path | None, options: RunOptions, watcher: Watcher
) -> Transferred:
    """Fine-tune, choose by the validation set, repeat with every seed, and look at the test set once.

    Args:
        settings: what to do.
        out: the folder of the transfer; the same call again goes on where it was interrupted.
        data: a folder with the task's files; None for the data set on the Hub.
        options: of every stage.
        watcher: is told about progress.

    Raises:
        BackboneError: if the model cannot be used.
        CorpusError: if the data cannot be used.
        RecipeError: if the settings do not fit together, or ``out`` is another transfer's.
    """
    grid = _whole_grid(settings)
    shared: dict[str, str] = {}
    results: dict[str, list[StageResult]] = {}
    trials: list[tuple[Trial, RecipeRun]] = []
    for point in grid_points(grid, settings.trials):
        label = point_label(point, grid)
        run = _run(settings, point, out / "runs" / label, data, options, watcher)
        run.make_parents()
        if settings.teacher is not None and not shared:  # one teacher for all points
            results[TASK_TEACHER] = run.run_stage(TASK_TEACHER)
            shared[TASK_TEACHER] = str(run.model_folder(TASK_TEACHER))
        first = run.run_seed(TRANSFER, settings.seeds[0], shared)
        trials.append((Trial(label, point, first.score), run))
    trials.sort(key=lambda each: -each[0].score)  # stable: of equals, the first in the grid's order
    run = trials[0][1]
    results[TRANSFER] = run.run_stage(TRANSFER, shared)
    if settings.quantize:
        results[QUANTIZED] = run.run_stage(QUANTIZED, shared)
    return Transferred(run, results, [trial for trial, _ in trials], run.test_stage(run.recipe.package))


def transfer_recipe(settings: TransferSettings, point: Point) -> Recipe:
    """Return the recipe of one point of the grid.

    Raises:
        BackboneError: if the model cannot be read.
        RecipeError: if the settings do not fit together.
    """
    task = find_task(settings.task)
    config = _config(settings.model)
    epochs, batch_size, peak = _DEFAULTS[task.kind]
    common: dict[str, Any] = {
        "objective": {"kind": task.kind},
        "data": task.name,
        "max_length": settings.max_length or min(task.max_length, num_positions(config)),
        "batch_size": settings.batch_size or batch_size,
        "fraction": settings.fraction,
        "group_by_length": True,
    }
    length = point.get("epochs", epochs)
    taught = {} if settings.teacher is None else {"teacher": TASK_TEACHER, "distillation": _DISTILLATION}
    locked = _is_locked(config)
    stages = [
        {
            **common,
            "name": TRANSFER,
            "model": BACKBONE,
            "epochs": length,
            "learning_rate": {
                "peak": point.get("learning_rate", peak),
                "warmup_ratio": point.get("warmup_ratio", 0.0),
            },
            "weight_decay": point.get("weight_decay", 0.0),
            "seeds": settings.seeds,
            "lock": locked,
            "evaluations": max(2, round(length)),
            "keep": "best",
            **({"frozen_embeddings": {}} if settings.freeze_embeddings else {}),
            **taught,
        }
    ]
    parents = {BACKBONE: _parent(settings.model, config)}
    if settings.teacher is not None:
        parents[TEACHER] = _parent(settings.teacher, _config(settings.teacher))
        stages.insert(0, {**common, **_TEACHER, "name": TASK_TEACHER, "model": TEACHER})
    if settings.quantize:
        stages.append(
            {
                **common,
                **_QUANTIZED,
                "name": QUANTIZED,
                "model": TRANSFER,
                "lock": locked,
                "seeds": settings.seeds,
                "quantization": {},
                **taught,
            }
        )
    called = settings.name or parents[BACKBONE].pretrained
    content = {
        "name": slug(f"{called}-{task.name}"),
        "summary": f"{called} fine-tuned on {task.name}.",
        "parents": parents,
        "tasks": {} if settings.own == TaskSettings() else {task.name: settings.own},
        "stages": stages,
        "package": stages[-1]["name"],
    }
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{where}: {first['msg']}, got {first['input']!r}") from None
    problems = [f"{path_text(path)}: {message}" for path, message in inconsistencies(recipe)]
    if problems:
        raise RecipeError(f"the settings of the transfer do not fit: {'; '.join(problems)}")
    return recipe


def _whole_grid(settings: TransferSettings) -> Grid:
    epochs, _, peak = _DEFAULTS[find_task(settings.task).kind]
    return {"learning_rate": (peak,), "epochs": (epochs,), **settings.grid}


def _run(
    settings: TransferSettings,
    point: Point,
    out: Path,
    data: Path | None,
    options: RunOptions,
    watcher: Watcher,
) -> RecipeRun:
    models = {BACKBONE: settings.model, TEACHER: settings.teacher}
    return RecipeRun(
        transfer_recipe(settings, point),
        out,
        data={} if data is None else {EVERY: data},
        parents={name: model for name, model in models.items() if model is not None and Path(model).is_dir()},
        options=options,
        watcher=watcher,
    )


def _config(model: str) -> Any:
    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise BackboneError(f"{model} cannot be read as a model: {' '.join(str(error).split())}") from error


def _is_locked(config: Any) -> bool:
    return (getattr(config, "quantization_config", None) or {}).get("quant_method") == QUANT_METHOD


def _parent(model: str, config: Any) -> Parent:
    # A folder's place says nothing to others; the run itself is given it.
    name = Path(model).resolve().name if Path(model).is_dir() else model
    return Parent(model_type=config.model_type, pretrained=name)
