import csv
from dataclasses import replace
from pathlib import Path

import pytest
from run_case import NUM_LOCKED, encoder_zeros
from task_case import write_task
from transformers import AutoConfig

from sparsezoo_hub.core.objective_settings import TaskSettings
from sparsezoo_hub.core.quantization_names import RANGES_FILE
from sparsezoo_hub.errors import BackboneError, RecipeError
from sparsezoo_hub.training.run import RESULT, TEST, RecipeRun, ignore_progress
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.transfer import Transferred, TransferSettings, transfer, transfer_recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("data"), "pubmedqa", train=48, validation=16, test=16)


@pytest.fixture(scope="module")
def settings(finished_run: RecipeRun) -> TransferSettings:
    return TransferSettings(
        model=str(finished_run.model_folder("student")),
        task="pubmedqa",
        teacher=str(finished_run.model_folder("teacher")),
        grid={"learning_rate": (1e-6, 2e-2)},
        batch_size=8,
        max_length=24,
        seeds=(0, 1),
        quantize=True,
    )


def ran(settings: TransferSettings, out: Path, data: Path) -> Transferred:
    return transfer(settings, out, data, RunOptions(max_steps=8), ignore_progress)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, settings: TransferSettings, data: Path) -> Transferred:
    return ran(settings, tmp_path_factory.mktemp("transfer") / "out", data)


def test_the_best_point_is_chosen_by_validation_and_only_it_is_repeated(done: Transferred) -> None:
    best, worst = done.trials
    assert best.score >= worst.score
    out = done.run.out.parent
    assert done.run.out.name == best.label
    seeds = {
        label: sorted(path.parent.name for path in (out / label / "stages/transfer").glob(f"*/{RESULT}"))
        for label in (best.label, worst.label)
    }
    assert seeds == {best.label: ["seed-0", "seed-1"], worst.label: ["seed-0"]}
    assert done.results["transfer"][0].score == best.score
    # One teacher, in the run of the first point of the grid, for both.
    teachers = sorted(path.parts[-5] for path in out.glob(f"*/stages/task-teacher/*/{RESULT}"))
    assert teachers == ["learning_rate-1e-06"]


def test_every_seed_is_measured_on_the_test_set_and_once_only(
    done: Transferred, settings: TransferSettings, data: Path
) -> None:
    folders = [done.run.out / "stages" / "quantized" / f"seed-{seed}" for seed in (0, 1)]
    before = [(folder / TEST).stat().st_mtime_ns for folder in folders]
    assert len(done.test) == 2
    again = ran(settings, done.run.out.parents[1], data)
    assert again.test == done.test
    assert [(folder / TEST).stat().st_mtime_ns for folder in folders] == before
    assert not [*done.run.out.glob(f"stages/transfer/*/{TEST}")]  # only the packaged stage's


def test_the_pattern_stays_through_transfer_and_quantization(
    done: Transferred, finished_run: RecipeRun
) -> None:
    zeros = encoder_zeros(finished_run.model_folder("student"))
    assert sum(int(each.sum()) for each in zeros.values()) == NUM_LOCKED
    for stage in ("transfer", "quantized"):
        own = encoder_zeros(done.run.model_folder(stage))
        assert all((own[name] == zeros[name]).all() for name in zeros)
    assert (done.run.model_folder("quantized") / RANGES_FILE).exists()


def test_the_model_of_the_best_seed_goes_on(done: Transferred) -> None:
    scores = [each.score for each in done.results["transfer"]]
    best = scores.index(max(scores))
    assert done.run.model_folder("transfer").name == f"seed-{best}"


def test_a_dense_model_has_no_pattern_to_lock(finished_run: RecipeRun) -> None:
    recipe = transfer_recipe(TransferSettings(str(finished_run.model_folder("teacher")), "pubmedqa"), {})
    assert not recipe.stage("transfer").lock
    assert recipe.parents["backbone"].pretrained == "seed-0"  # the folder's name, not its place


def test_files_of_ones_own_need_no_code_but_the_names_of_their_fields(
    finished_run: RecipeRun, tmp_path: Path
) -> None:
    rows = [("good river" if index % 2 else "bad stone", index % 2) for index in range(24)]
    for split in ("train", "validation", "test"):
        with (tmp_path / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("review", "stars"), *rows])
    settings = TransferSettings(
        model=str(finished_run.model_folder("student")),
        task="text-classification",
        seeds=(0,),
        batch_size=8,
        max_length=16,
        own=TaskSettings(
            fields={"text": "review", "label": "stars"}, labels=("no", "yes"), positive=("yes",), metric="f1"
        ),
    )
    done = ran(settings, tmp_path / "out", tmp_path)
    assert AutoConfig.from_pretrained(done.run.model_folder("transfer")).id2label == {0: "no", 1: "yes"}
    (result,) = done.results["transfer"]
    assert result.score == result.metrics["f1"]
    assert done.test[0].score == done.test[0].metrics["f1"]
    wrong = replace(settings, own=TaskSettings(fields={"txt": "review"}))
    with pytest.raises(
        RecipeError, match=r"\$\.stages\[0\]\.data: unknown field .*'txt'.*did you mean 'text'"
    ):
        ran(wrong, tmp_path / "wrong", tmp_path)


def test_a_model_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="cannot be read as a model"):
        transfer_recipe(TransferSettings(str(tmp_path), "pubmedqa"), {})
