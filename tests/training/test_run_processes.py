"""Runs in processes of their own: killed in the middle, and training together."""

import json
from pathlib import Path

import diverging_masks
import pytest
from forked_processes import command, ended, forked, ranks, wait_until, words
from run_case import (
    NUM_LOCKED,
    SHORT_RECIPE,
    ZEROS_OF,
    encoder_zeros,
    weights_are_equal,
)
from transformers import AutoModelForMaskedLM

from sparsezoo_hub import PatternLock
from sparsezoo_hub.training.run import RecipeRun


def check_package(out: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(out / "package")
    masks = PatternLock.masks(model)
    assert len(masks) == 12
    for name, where in encoder_zeros(out / "package").items():
        assert int(where.sum()) == int((~masks[name]).sum()) == ZEROS_OF[where.numel()], name
    result = json.loads((out / "stages" / "student" / "seed-0" / "result.json").read_text())
    assert (result["num_locked"], result["zeros_changed"], result["steps"]) == (NUM_LOCKED, 0, 12)
    assert not list(out.rglob("*.partial"))


@pytest.mark.slow
def test_a_killed_run_goes_on_after_the_last_finished_stage_to_the_same_bits(
    finished_run: RecipeRun, texts: list[Path], tmp_path: Path
) -> None:
    out, recipe = tmp_path / "run", tmp_path / "recipe.yaml"
    recipe.write_text(SHORT_RECIPE)
    arguments = ("train", str(recipe), *(f"--text={text}" for text in texts), "--out", str(out))
    process = forked(tmp_path / "killed", command, *arguments)
    teacher = out / "stages" / "teacher" / "seed-0"
    try:
        wait_until(teacher.exists, process)
    finally:
        process.kill()
        process.join()
    assert [path.name for path in (out / "stages").iterdir()] == ["teacher"]
    before = (teacher / "model.safetensors").stat().st_mtime_ns

    again = tmp_path / "again"
    assert ended([forked(again, command, *arguments)]) == [0], words(again)
    spoken = again.read_text()
    assert "teacher: step" not in spoken
    assert spoken.count("student: step 12 of 12") == 1
    assert spoken.count("package: ") == 1
    check_package(out)
    for name in ("teacher", "student"):
        folder = out / "stages" / name / "seed-0"
        assert weights_are_equal(folder, finished_run.model_folder(name)), name
    assert (teacher / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.distributed
def test_masks_that_differ_between_processes_stop_the_run_and_are_named(tmp_path: Path) -> None:
    said = [tmp_path / str(rank) for rank in range(2)]
    processes = [
        forked(path, diverging_masks.compare, environment=each)
        for path, each in zip(said, ranks(2), strict=True)
    ]
    assert ended(processes) == [0, 0], [words(each) for each in said]
    for each in said:
        assert (
            "the masks of 1 of 2 components differ between the 2 processes, two for example"
            in each.read_text()
        )
