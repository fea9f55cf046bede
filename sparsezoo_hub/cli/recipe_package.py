"""From a run of a recipe to its package."""

import platform
import statistics
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from sparsezoo_hub.core.recipe import Provenance, Recipe
from sparsezoo_hub.packaging.manifest import Manifest, MaskedLMLoss, Measurements, TaskResult
from sparsezoo_hub.packaging.package import PackageContents, write_package
from sparsezoo_hub.training.corpora import text_digest
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stage_training import StageResult

NUM_ONNX_TEXTS = 24
_RECORDED = ("sparsezoo-hub", "torch", "transformers", "tokenizers", "huggingface_hub", "onnxruntime")

Results = Mapping[str, list[StageResult]]


def package_run(run: RecipeRun, results: Results, folder: Path, repo_id: str | None = None) -> Manifest:
    """Write the package of the stage that the recipe names.

    Args:
        run: its stages up to the packaged one are finished.
        results: of the stages that are finished, by stage name.
        folder: where the package goes; an earlier one there is replaced once the new one is complete.
        repo_id: where it will be published, for the card; None if that is not known.

    Raises:
        PackageError: if it cannot be written; an earlier package is then untouched.
    """
    stage = run.recipe.stage(run.recipe.package)
    train, validation = run.documents
    model = OBJECTIVES[stage.objective.kind].auto_class.from_pretrained(run.model_folder(stage.name))
    backbone = run.override or run.recipe.backbone.pretrained
    return write_package(
        folder,
        PackageContents(
            model=model,
            tokenizer=run.tokenizer,
            recipe=resolved_recipe(run),
            texts=[each.text for each in [*validation, *train][:NUM_ONNX_TEXTS]],
            measurements=_measurements(run, results),
            base_model=None if backbone is None or Path(backbone).exists() else backbone,
            repo_id=repo_id,
        ),
    )


def resolved_recipe(run: RecipeRun) -> Recipe:
    """Return the recipe with what this run was made of: text, backbone, versions."""
    train, validation = run.documents
    names = [path.name for path in run.text] or [f"documentation of Python {platform.python_version()}"]
    return run.recipe.model_copy(
        update={
            "provenance": Provenance(
                backbone=run.override or run.recipe.backbone.pretrained or "random weights",
                text=(*names, text_digest([*train, *validation])),
                max_steps=run.max_steps,
                versions={"python": platform.python_version(), **{name: version(name) for name in _RECORDED}},
            )
        }
    )


def hardware() -> str:
    """Return the machine in words: processor, threads, accelerator."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _measurements(run: RecipeRun, results: Results) -> Measurements:
    stage = run.recipe.stage(run.recipe.package)
    losses = {
        name: each[0].validation_loss
        for name, each in results.items()
        if run.recipe.stage(name).objective.kind == "masked_lm"
    }
    student = losses.get(stage.name)
    upstream = [result for name in _lineage(run.recipe, stage.name) for result in results.get(name, [])]
    return Measurements(
        mlm=None
        if student is None
        else MaskedLMLoss(teacher=losses.get(stage.teacher or ""), student=student),
        results=tuple(
            _task_result(run.recipe, name, each)
            for name, each in results.items()
            if run.recipe.stage(name).objective.kind == "sequence_classification"
        ),
        train_seconds=round(sum(result.seconds for result in upstream), 1),
        hardware=hardware(),
    )


def _lineage(recipe: Recipe, name: str) -> set[str]:
    """The stage and every stage that it starts from or learns from."""
    if name == "backbone":
        return set()
    stage = recipe.stage(name)
    parents = [stage.model, *([stage.teacher] if stage.teacher else [])]
    return {name}.union(*(_lineage(recipe, parent) for parent in parents))


def _task_result(recipe: Recipe, name: str, results: list[StageResult]) -> TaskResult:
    stage = recipe.stage(name)
    accuracies = [result.validation_accuracy for result in results]
    return TaskResult(
        task="text-classification",
        dataset=stage.data,
        metric="accuracy",
        mean=statistics.fmean(accuracies),
        std=statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        seeds=tuple(result.seed for result in results),
        label=None if stage.model == recipe.package else name,
    )
