"""A stage that is interrupted anywhere goes on from its last checkpoint as if nothing had happened."""

import json
from pathlib import Path

import pytest
from run_case import SHORT_RECIPE, tiny_recipe, weights_are_equal

from sparsezoo_hub.training.checkpoints import STATE
from sparsezoo_hub.training.progress import Progress
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY

STEPS = 20  # progress is shown after steps 10 and 20
METHODS = {
    "magnitude": "",
    "movement": "method: movement, start: 1,",
    "optimal-bert-surgeon": "method: optimal_bert_surgeon, start: 1, "
    "fisher: {num_gradients: 4, block_size: 8},",
}


def recipe_text(method: str) -> str:
    """The student is pruned up to step 16, and interrupted at step 10."""
    text = SHORT_RECIPE.replace("steps: 12", f"steps: {STEPS}\n    evaluations: 5")
    old = "{initial_sparsity: 0.3, final_sparsity: 0.9, policy_end: 6, end: 9, interval: 2}"
    assert old in text
    new = f"{{{METHODS[method]} final_sparsity: 0.9, policy_end: 14, end: 16, interval: 3}}"
    return text.replace(old, new).replace("seeds: [0]", "")


def run_of(out: Path, texts: list[Path], method: str, every: int, watcher: object = None) -> RecipeRun:
    options = {} if watcher is None else {"watcher": watcher}
    run = RecipeRun(
        tiny_recipe(recipe_text(method)),
        out,
        text={EVERY: texts},
        options=RunOptions(checkpoint_every=every),
        **options,  # type: ignore[arg-type]
    )
    run.make_parents()
    return run


def interrupt_the_student(progress: Progress) -> None:
    if progress.stage == "student" and progress.step == STEPS // 2:
        raise KeyboardInterrupt


def finished(run: RecipeRun) -> Path:
    run.run_stage("teacher")
    run.run_stage("student")
    return run.model_folder("student")


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_interrupted_while_pruning_ends_bit_for_bit_like_one_that_was_not(
    method: str, texts: list[Path], tmp_path: Path
) -> None:
    whole = finished(run_of(tmp_path / "whole", texts, method, every=1000))
    with pytest.raises(KeyboardInterrupt):
        finished(run_of(tmp_path / "cut", texts, method, every=4, watcher=interrupt_the_student))
    checkpoints = tmp_path / "cut" / "stages" / "student" / "seed-0.checkpoints"
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-4", "checkpoint-8"}
    steps: list[int] = []
    again = finished(
        run_of(tmp_path / "cut", texts, method, every=4, watcher=lambda progress: steps.append(progress.step))
    )
    assert steps == [10, 20]  # from step 8 on, not from the beginning
    assert weights_are_equal(whole, again)
    ours, theirs = (json.loads((folder / "result.json").read_text()) for folder in (whole, again))
    for point in (*ours["curve"], *theirs["curve"]):
        del point["seconds"]
    assert ours["curve"] == theirs["curve"]
    assert [point["step"] for point in ours["curve"]] == [4, 8, 12, 16]
    assert {key: ours[key] for key in ours if key != "seconds"} == {
        key: theirs[key] for key in theirs if key != "seconds"
    }
    assert not checkpoints.exists()  # a finished stage needs none


def test_a_checkpoint_that_was_not_written_to_its_end_is_not_gone_on_from(
    texts: list[Path], tmp_path: Path
) -> None:
    whole = finished(run_of(tmp_path / "whole", texts, "magnitude", every=1000))
    with pytest.raises(KeyboardInterrupt):
        finished(run_of(tmp_path / "cut", texts, "magnitude", every=4, watcher=interrupt_the_student))
    newest = tmp_path / "cut" / "stages" / "student" / "seed-0.checkpoints" / "checkpoint-8"
    (newest / STATE).unlink()  # it is written last
    (newest / "model.safetensors").write_bytes(b"half")
    assert weights_are_equal(whole, finished(run_of(tmp_path / "cut", texts, "magnitude", every=4)))
