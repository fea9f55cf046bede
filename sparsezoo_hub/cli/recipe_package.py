"""From a run of a recipe to its package."""

import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from sparsezoo_hub.cli.stored_model import stored_ranges
from sparsezoo_hub.core.lineage import contributing_stages, root_of
from sparsezoo_hub.core.recipe import Provenance, Recipe, Stage
from sparsezoo_hub.packaging.layout import MANIFEST
from sparsezoo_hub.packaging.manifest import (
    Manifest,
    MaskedLMLoss,
    Measurements,
    TaskResult,
    read_manifest,
)
from sparsezoo_hub.packaging.package import PackageContents, write_package
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.run import Measured, RecipeRun
from sparsezoo_hub.training.stage_result import StageResult

NUM_ONNX_TEXTS = 24
# Of a corpus of more files, the first and the last are named.
_MOST_NAMES = 16
_RECORDED = ("sparsezoo-hub", "torch", "transformers", "tokenizers", "huggingface_hub", "onnxruntime")

_HUB_TASKS = {
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
}

Results = Mapping[str, list[StageResult]]


def package_run(
    run: RecipeRun,
    results: Results,
    folder: Path,
    repo_id: str | None = None,
    tests: Sequence[Measured] = (),
) -> Manifest:
    """Write the package of the stage that the recipe names.

    Args:
        run: its stages up to the packaged one are finished.
        results: of the stages that are finished, by stage name.
        folder: where the package goes; an earlier one there is replaced once the new one is complete.
        repo_id: where it will be published, for the card; None if that is not known.
        tests: of the packaged stage on its task's test set, one per seed; none if it was not looked at.

    Raises:
        PackageError: if it cannot be written; an earlier package is then untouched.
        QuantizationError: if the ranges that the stage has learned are broken.
    """
    stage = run.recipe.stage(run.recipe.package)
    model = OBJECTIVES[stage.objective.kind].auto_class.from_pretrained(run.model_folder(stage.name))
    name = root_of(run.recipe, stage.name)
    source = run.overrides.get(name) or run.recipe.parents[name].pretrained
    return write_package(
        folder,
        PackageContents(
            model=model,
            tokenizer=run.tokenizer,
            recipe=resolved_recipe(run, results),
            texts=_sample_texts(run),
            measurements=_measurements(run, results, tests),
            base_model=None if source is None or Path(source).exists() else source,
            repo_id=repo_id,
            quantization=stored_ranges(run.model_folder(stage.name)),
        ),
    )


def resolved_recipe(run: RecipeRun, results: Results) -> Recipe:
    """Return the recipe as it was run, every length in steps, with what it was run on."""
    settings = {name: each[0].settings for name, each in results.items()}
    sources = {
        name: model_name(run.overrides.get(name) or parent.pretrained)
        or f"{parent.model_type}, initialised at random"
        for name, parent in run.recipe.parents.items()
    }
    return run.recipe.model_copy(
        update={
            "stages": tuple(settings.get(stage.name, stage) for stage in run.recipe.stages),
            "provenance": Provenance(
                parents=sources,
                data={stage.data: _data_names(run, stage) for stage in run.recipe.stages},
                max_steps=run.options.max_steps,
                precision="bfloat16" if run.options.bf16 else "float32",
                versions=versions(*_RECORDED),
            ),
        }
    )


def versions(*names: str) -> dict[str, str]:
    """Return the versions of Python and of the distributions of these names."""
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def model_name(source: str | None) -> str | None:
    """Return a model's name: its package's, its folder's, or its Hub id. A place says nothing to others."""
    if source is None or not Path(source).is_dir():
        return source
    folder = Path(source).resolve()
    return read_manifest(folder / MANIFEST).name if (folder / MANIFEST).exists() else folder.name


def _data_names(run: RecipeRun, stage: Stage) -> tuple[str, ...]:
    if stage.is_language_modelling:
        names = [path.name for path in run.data.files(stage.data)]
        if len(names) > _MOST_NAMES:
            names = [f"{len(names)} files, {names[0]} to {names[-1]}"]
        return (
            *(names or [f"documentation of Python {platform.python_version()}"]),
            run.data.text.digest(stage.data),
        )
    folder = run.data.folder(stage.data)
    return ("the task's own data" if folder is None else folder.name,)


def _sample_texts(run: RecipeRun) -> list[str]:
    train, validation = run.documents
    return [each.text for each in [*validation, *train][:NUM_ONNX_TEXTS]]


def hardware() -> str:
    """Return the machine in words: processor, threads, accelerator."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{processor()}, {torch.get_num_threads()} threads"


def processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _measurements(run: RecipeRun, results: Results, tests: Sequence[Measured]) -> Measurements:
    stage = run.recipe.stage(run.recipe.package)
    losses = {
        name: each[0].validation_loss
        for name, each in results.items()
        if run.recipe.stage(name).is_language_modelling
    }
    student = losses.get(stage.name)
    upstream = [each for made in contributing_stages(run.recipe) for each in results.get(made.name, [])]
    return Measurements(
        mlm=None
        if student is None
        else MaskedLMLoss(teacher=losses.get(stage.teacher or ""), student=student),
        results=(
            *(
                result
                for name, each in results.items()
                if name not in losses
                for result in _task_results(run.recipe, name, each)
            ),
            *_test_results(stage, tests),
        ),
        train_seconds=round(sum(each.seconds for each in upstream), 1),
        hardware=hardware(),
    )


def _task_results(recipe: Recipe, name: str, results: list[StageResult]) -> list[TaskResult]:
    stage = recipe.stage(name)
    is_own = recipe.package in (stage.name, stage.model)
    return [
        TaskResult(
            task=_HUB_TASKS[stage.objective.kind],
            dataset=stage.data,
            metric=metric,
            mean=statistics.fmean(values),
            std=_deviation(values),
            seeds=tuple(result.seed for result in results),
            label=None if is_own else name,
        )
        for metric, values in _metrics(results).items()
    ]


def _test_results(stage: Stage, tests: Sequence[Measured]) -> list[TaskResult]:
    return [
        TaskResult(
            task=_HUB_TASKS[stage.objective.kind],
            dataset=stage.data,
            metric=metric,
            mean=statistics.fmean(each.metrics[metric] for each in tests),
            std=_deviation([each.metrics[metric] for each in tests]),
            seeds=stage.seeds,
            split="test",
        )
        for metric in (tests[0].metrics if tests else ())
    ]


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _metrics(results: list[StageResult]) -> dict[str, list[float]]:
    names = results[0].metrics or {"accuracy": 0.0}
    return {
        name: [result.metrics.get(name, result.validation_accuracy) for result in results] for name in names
    }
