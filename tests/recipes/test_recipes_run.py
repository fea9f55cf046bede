"""Every recipe runs from its parents to its package, at the size of the tiny backbone."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from run_case import write_texts
from task_case import write_task
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.cli.recipe_package import package_run
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.packaging import package as package_module
from sparsezoo_hub.packaging.float_parity import FloatParity
from sparsezoo_hub.packaging.onnx_export import export_onnx
from sparsezoo_hub.packaging.verify import verify_package
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.recipe_library import load_recipe, recipe_names, recipe_sparsity
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY
from sparsezoo_hub.training.stage_result import StageResult

FAMILIES = ("minilm/", "oberta/", "prune-ofa/", "sparse-bert/")
MEMBERS = [name for name in recipe_names() if name.startswith(FAMILIES) and ":" not in name]
ON_TASKS = ("finetune-pruning/", "transfer/", "minilm/transfer")
FILES = {name.split(":")[0] for name in recipe_names() if name.startswith(ON_TASKS)}
# One variant of each task and method: the others differ from it in numbers.
VARIANTS = [
    next(name for name in reversed(recipe_names()) if name.split(":")[0] == file) for file in sorted(FILES)
]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_texts(tmp_path_factory.mktemp("text"))


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"
    shutil.rmtree(tmp_path)  # there are many of them


@pytest.fixture(scope="module")
def one_export_of_each_shape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A model of the same class and shapes as one before gets its ONNX files: they take most of the time."""
    done: dict[tuple[object, ...], tuple[Path, FloatParity]] = {}

    def exported(
        model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], folder: Path
    ) -> FloatParity:
        shape = (type(model), *((name, each.shape) for name, each in model.named_parameters()))
        if shape not in done:
            first = tmp_path_factory.mktemp("onnx") / "onnx"
            done[shape] = first, export_onnx(model, tokenizer, texts, first)
        shutil.copytree(done[shape][0], folder)
        return done[shape][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package_module, "export_onnx", exported)
        yield


def finished(
    name: str, out: Path, text: list[Path], data: Path | None = None
) -> tuple[RecipeRun, dict[str, list[StageResult]]]:
    recipe = load_recipe(name)
    stages = tuple(stage.model_copy(update={"seeds": stage.seeds[:1]}) for stage in recipe.stages)
    run = RecipeRun(
        recipe.model_copy(update={"stages": stages}),
        out,
        text={EVERY: text} if data is None else {},
        data={} if data is None else {EVERY: data},
        parents={"backbone": "tiny"},
        options=RunOptions(max_steps=6),
    )
    run.make_parents()
    return run, {stage.name: run.run_stage(stage.name) for stage in run.recipe.stages}


def promised(name: str) -> float | None:
    """The sparsity that a family member's name says."""
    ending = name.partition(":")[0].removesuffix("-ablation").rpartition("-")[2]
    return int(ending) / 100 if ending.isdigit() else None


@pytest.mark.slow
@pytest.mark.usefixtures("one_export_of_each_shape")
@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_of_a_family_becomes_a_package_that_verifies(name: str, out: Path, text: list[Path]) -> None:
    run, results = finished(name, out, text)
    manifest = package_run(run, results, out / "package")
    assert [check for check in verify_package(out / "package") if not check.ok] == []
    assert manifest.sparsity.overall == pytest.approx(promised(name) or 0.0, abs=2e-3)
    assert manifest.sparsity.target in {promised(name), None}  # None: the pattern came with the parent


@pytest.mark.parametrize("name", VARIANTS)
def test_a_task_is_learned_pruned_or_with_its_pattern_locked(
    name: str, out: Path, text: list[Path], tmp_path: Path
) -> None:
    recipe = load_recipe(name)
    stage = recipe.stage(recipe.package)
    _, results = finished(name, out, text, write_task(tmp_path / "data", stage.data))
    result = results[stage.name][0]
    assert result.metrics
    assert result.zeros_changed == 0
    wanted = recipe_sparsity(name) or 0.0
    assert (result.sparsity or 0.0) == pytest.approx(wanted, abs=2e-3)
    folder = out / "stages" / stage.name / "seed-0"
    model = OBJECTIVES[stage.objective.kind].auto_class.from_pretrained(folder)
    assert bool(PatternLock.masks(model)) == bool(wanted)
