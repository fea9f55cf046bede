"""A study is run, goes on, and lets a run fail."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from forked_processes import command, ended, forked, wait_until, words
from study_case import KEYS, SHORT, StudyFolder, write_study

from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY
from sparsezoo_hub.training.studies.file_lock import file_lock


def results(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "results.json").read_text())
    return content


def numbers(out: Path) -> Any:
    """What a study came to, but for how long it took and where it lay."""

    def without_time(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: without_time(each) for key, each in value.items() if key not in {"seconds", "machine"}
            }
        return [without_time(each) for each in value] if isinstance(value, list) else value

    return without_time(results(out))


def table(out: Path) -> list[str]:
    return [line for line in (out / "results.md").read_text().splitlines() if line.startswith("|")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def finished(study: StudyFolder) -> Path:
    """The folder of a study that ran to its end; no test may change it."""
    out = study.folder / "out"
    outcomes = study.run(out)
    assert [(each.index, each.count, each.run.key, each.state) for each in outcomes] == [
        (index, 4, key, "finished") for index, key in enumerate(KEYS, start=1)
    ]
    return out


def test_the_results_are_those_of_the_runs(study: StudyFolder, finished: Path) -> None:
    content = results(finished)
    assert [(run["key"], run["state"], run["metric"]) for run in content["runs"]] == [
        (key, "finished", "accuracy") for key in KEYS
    ]
    for run in content["runs"]:
        (result,) = run["results"]
        assert run["values"] == [result["metrics"]["accuracy"]]
        assert (result["stage"], result["steps"]) == ("transfer", 6)
        assert result["seed"] == int(run["labels"]["seed"])
        assert (result["sparsity"] == pytest.approx(0.5)) == (run["labels"]["way"] == "pruned")
    assert (finished / "results.md").read_text().startswith("# small-study\n")
    assert (finished / "results.png").exists()
    assert not [*finished.rglob("*.partial")]


def test_a_run_in_a_study_is_the_same_as_one_that_shares_nothing(
    study: StudyFolder, finished: Path, tmp_path: Path
) -> None:
    recipe = next(run.recipe for run in study.runs() if run.key == "pruned_sst2_seed-1")
    run = RecipeRun(recipe, tmp_path / "run", data={EVERY: study.data})
    run.make_parents()
    alone = [run.run_stage(stage.name) for stage in recipe.stages][-1][0].model_dump(mode="json")
    (shared,) = next(
        each["results"] for each in results(finished)["runs"] if each["key"] == "pruned_sst2_seed-1"
    )
    del alone["seconds"], alone["curve"], shared["seconds"], shared["curve"]
    assert shared == alone


def test_what_several_runs_need_is_made_once(finished: Path) -> None:
    folders = [path.name.rpartition("-")[0] for path in (finished / "shared").iterdir() if path.is_dir()]
    assert sorted(folders) == ["parents", "task-teacher"]  # of four runs
    (teacher,) = (finished / "shared").glob("task-teacher-*/seed-3/result.json")
    for key in KEYS:
        assert (finished / "runs" / key / "stages" / "task-teacher" / "seed-3" / "result.json").samefile(
            teacher
        )


def test_a_study_that_is_finished_runs_nothing_again(study: StudyFolder, finished: Path) -> None:
    before = (finished / "results.md").read_text()
    (finished / "results.md").unlink()
    assert [each.state for each in study.run(finished)] == ["found"] * 4
    assert (finished / "results.md").read_text() == before


def test_a_folder_of_other_options_is_refused_run_by_run(study: StudyFolder, finished: Path) -> None:
    outcomes = study.run(finished, run_options=RunOptions(max_steps=2))
    assert {each.state for each in outcomes} == {"failed"}
    assert "holds a run of another recipe, text, backbone or length" in (outcomes[0].error or "")
    assert results(finished)["num_finished"] == 0  # those there are not of these options
    assert {each.state for each in study.run(finished)} == {"found"}


def test_options_that_no_run_takes_are_refused(study: StudyFolder, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown parent of this study 'techer', choose one of: backbone"):
        study.run(tmp_path, models={"techer": "somewhere"})
    with pytest.raises(RecipeError, match="unknown corpus of this study 'wiki'"):
        study.run(tmp_path, text={"wiki": [Path("a.txt")]})


def test_a_run_that_fails_is_reported_and_tried_again_and_the_others_go_on(
    study: StudyFolder, tmp_path: Path
) -> None:
    text = SHORT.replace("seed: [0, 1]", "seed: [0]")
    text = text.replace(
        "way:\n", "way:\n    long: {recipe: 'small.yaml:{task}', set: {stages.transfer.max_length: 64}}\n"
    )
    text = text.replace("dense: {", "dense: {metric: validation_loss, ").replace(
        "set:\n", "metric: f2\n      set:\n"
    )
    other = StudyFolder(tmp_path / "study")
    other.write(text)
    (other.folder / "data").symlink_to(study.data)
    out = tmp_path / "out"
    outcomes = other.run(out)
    assert [each.state for each in outcomes] == ["failed", "finished", "failed"]
    assert "max_length 64 is more than the 32 tokens" in (outcomes[0].error or "")
    record = outcomes[1].record
    assert record is not None
    assert (record.metric, record.values) == ("validation_loss", (record.results[0].validation_loss,))
    assert "unknown metric 'f2', choose one of: accuracy, validation_loss" in (outcomes[2].error or "")
    assert [run["state"] for run in results(out)["runs"]] == ["failed", "finished", "failed"]
    assert "max_length 64" in results(out)["runs"][0]["error"]
    assert "| long | failed |" in (out / "results.md").read_text()
    assert [each.state for each in other.run(out)] == ["failed", "found", "failed"]
    other.write(text.replace("metric: f2", "metric: accuracy"))
    assert [each.state for each in other.run(out)] == ["failed", "found", "finished"]


def test_a_run_that_another_process_is_at_is_left_to_it(study: StudyFolder, tmp_path: Path) -> None:
    one = StudyFolder(tmp_path / "study")
    one.write(SHORT.replace("seed: [0, 1]", "seed: [0]"))
    (one.folder / "data").symlink_to(study.data)
    out = tmp_path / "out"
    with file_lock(out / "runs" / "dense_sst2_seed-0.lock", wait=False) as held:
        assert held
        assert [each.state for each in one.run(out)] == ["elsewhere", "finished"]
        assert [run["state"] for run in results(out)["runs"]] == ["missing", "finished"]
    assert [each.state for each in one.run(out)] == ["finished", "found"]


def hold(path: Path) -> None:
    with file_lock(path, wait=False) as held:
        print(held, flush=True)  # noqa: T201 - it tells the test
        time.sleep(600)


def test_a_lock_is_free_when_its_process_is_killed(tmp_path: Path) -> None:
    path, said = tmp_path / "a.lock", tmp_path / "said"
    process = forked(said, hold, path)
    wait_until(lambda: said.exists() and said.read_text() == "True\n", process)
    with file_lock(path, wait=False) as held:
        assert not held
    process.kill()
    process.join()
    with file_lock(path, wait=False) as held:
        assert held


@pytest.mark.slow
def test_a_study_that_was_killed_ends_like_one_that_was_not(study: StudyFolder, tmp_path: Path) -> None:
    one = StudyFolder(tmp_path / "study")
    one.write(SHORT.replace("seed: [0, 1]", "seed: [0]"))
    (one.folder / "data").symlink_to(study.data)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert [each.state for each in one.run(whole)] == ["finished", "finished"]
    arguments = ("study", str(one.path), "--data", str(one.data), "--out", str(out))
    said = tmp_path / "killed"
    process = forked(said, command, *arguments)
    wait_until(lambda: said.exists() and "1 of 2: dense_sst2_seed-0: accuracy" in said.read_text(), process)
    wait_until((out / "runs" / "pruned_sst2_seed-0" / "run.yaml").exists, process)  # it is at the second one
    process.kill()
    process.join()
    assert [path.stem for path in (out / "runs").glob("*.json")] == ["dense_sst2_seed-0"]
    again = tmp_path / "again"
    assert ended([forked(again, command, *arguments)]) == [0], words(again)
    first, second = [line for line in again.read_text().splitlines() if " of 2: " in line]
    assert first.startswith("1 of 2: dense_sst2_seed-0: accuracy")
    assert first.endswith(", was finished")
    assert second.startswith("2 of 2: pruned_sst2_seed-0: accuracy")
    assert numbers(out) == numbers(whole)
    assert table(out) == table(whole)


@pytest.mark.slow
def test_two_processes_split_a_study_and_share_what_both_need(
    study: StudyFolder, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = [tmp_path / "first", tmp_path / "second"]
    arguments = ("study", str(study.path), "--data", str(study.data), "--out", str(out), "--shard")
    processes = [
        forked(path, command, *arguments, part) for path, part in zip(said, ("1/2", "2/2"), strict=True)
    ]
    assert ended(processes) == [0, 0], [words(each) for each in said]
    printed = [each.read_text() for each in said]
    for text, keys in zip(printed, (KEYS[::2], KEYS[1::2]), strict=True):
        lines = [line for line in text.splitlines() if " of 2: " in line]
        assert [line.split(": ")[1] for line in lines] == keys
    assert len([*(out / "shared").glob("task-teacher-*/seed-3/result.json")]) == 1
    assert table(out) == table(finished)


def test_the_recipe_of_a_run_is_in_its_folder(study: StudyFolder, finished: Path) -> None:
    runs = {run.key: run.recipe for run in study.runs()}
    for key in KEYS:
        assert parse_recipe((finished / "runs" / key / "run.yaml").read_text(), key) == runs[key]
    assert os.readlink(finished / "runs" / KEYS[0] / "parents").startswith("../../shared/parents-")
