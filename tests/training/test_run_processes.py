"""Runs in processes of their own: killed in the middle, and launched by accelerate."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_case import (
    ENVIRONMENT,
    NUM_LOCKED,
    SHORT_RECIPE,
    ZEROS_OF,
    encoder_zeros,
    weights_are_equal,
)
from transformers import AutoModelForMaskedLM

from sparsezoo_hub import PatternLock
from sparsezoo_hub.training.run import RecipeRun


def train_command(recipe: str, texts: list[Path], out: Path) -> list[str]:
    path = out.with_suffix(".yaml")
    path.write_text(recipe)
    options = [argument for text in texts for argument in ("--text", str(text))]
    return ["sparsezoo_hub.train", str(path), *options, "--out", str(out)]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "the run ended before it got there"
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.001)


def launched(launcher: list[str], out: Path, texts: list[Path], recipe: str = SHORT_RECIPE) -> str:
    """What the launcher's standard output says after the whole recipe."""
    completed = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", *train_command(recipe, texts, out)],
        env={**ENVIRONMENT, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def check_package(out: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(out / "package")
    masks = PatternLock.masks(model)
    assert len(masks) == 12
    for name, where in encoder_zeros(out / "package").items():
        assert int(where.sum()) == int((~masks[name]).sum()) == ZEROS_OF[where.numel()], name
    result = json.loads((out / "stages" / "student" / "seed-0" / "result.json").read_text())
    assert (result["num_locked"], result["zeros_changed"], result["steps"]) == (NUM_LOCKED, 0, 12)
    assert not list(out.rglob("*.partial"))


def check_words(said: str) -> None:
    assert said.count("student: step 12 of 12") == 1
    assert said.count("package: ") == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_after_the_last_finished_stage_to_the_same_bits(
    finished_run: RecipeRun, texts: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", *train_command(SHORT_RECIPE, texts, out)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    teacher = out / "stages" / "teacher" / "seed-0"
    try:
        wait_for(teacher, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert [path.name for path in (out / "stages").iterdir()] == ["teacher"]
    before = (teacher / "model.safetensors").stat().st_mtime_ns

    # The second start is accelerate's.
    launcher = ["accelerate.commands.launch", "--cpu", "--num_machines", "1", "--num_processes", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    said = launched(launcher, out, texts)
    check_words(said)
    assert "teacher: step" not in said
    check_package(out)
    for name in ("teacher", "student"):
        folder = out / "stages" / name / "seed-0"
        assert weights_are_equal(folder, finished_run.model_folder(name)), name
    assert (teacher / "model.safetensors").stat().st_mtime_ns == before


# After magnitude, the other methods: at each update the processes compare their masks.
OTHER_METHODS = "".join(
    SHORT_RECIPE[SHORT_RECIPE.index("  - name: student") : SHORT_RECIPE.index("\npackage")]
    .replace("name: student", f"name: {method.split('_')[0]}")
    .replace("pruning: {initial_sparsity: 0.3, ", f"pruning: {{method: {method}, start: 1, {more}")
    for method, more in (
        ("movement", ""),
        ("optimal_bert_surgeon", "fisher: {num_gradients: 4, block_size: 8}, "),
    )
)


@pytest.mark.slow
def test_two_processes_make_one_package_and_only_the_main_one_speaks(
    texts: list[Path], tmp_path: Path
) -> None:
    # accelerate itself starts several processes on CPUs by mpirun alone; torchrun is what it uses elsewhere.
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launcher += ["--redirects", "3", "--log-dir", str(tmp_path / "logs")]
    recipe = SHORT_RECIPE.replace("\npackage", f"\n{OTHER_METHODS}\npackage")
    launched(launcher, tmp_path / "run", texts, recipe)
    said = {path.parent.name: path.read_text() for path in (tmp_path / "logs").rglob("stdout.log")}
    assert sorted(said) == ["0", "1"]
    check_words(said["0"])
    assert said["1"] == ""
    check_package(tmp_path / "run")


def test_masks_that_differ_between_processes_stop_the_run_and_are_named(tmp_path: Path) -> None:
    script = Path(__file__).with_name("diverging_masks.py")
    completed = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)],
        env={**ENVIRONMENT, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert completed.returncode == 0, completed.stderr
    said = "the masks of 1 of 2 components differ between the 2 processes, two for example"
    assert completed.stdout.count(said) == 2
