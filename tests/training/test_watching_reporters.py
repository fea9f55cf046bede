"""``--report-to``: what is refused before anything is trained, and what TensorBoard is given."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from run_case import SHORT_RECIPE, tiny_recipe

from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training import reporters
from sparsezoo_hub.training.progress import Progress, Watcher
from sparsezoo_hub.training.run import RecipeRun, ignore_progress
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_data import EVERY


def run_of(out: Path, texts: list[Path], *names: str, watcher: Watcher = ignore_progress) -> RecipeRun:
    options = RunOptions(report_to=names, checkpoint_every=8)
    return RecipeRun(tiny_recipe(SHORT_RECIPE), out, text={EVERY: texts}, options=options, watcher=watcher)


def test_an_unknown_reporter_is_refused_before_anything_is_written(texts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"^unknown --report-to 'tensorbord', .* did you mean 'tensorboard'\?"
    ):
        run_of(tmp_path / "run", texts, "tensorbord")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", reporters.REPORTERS)
def test_a_missing_package_is_named_before_anything_is_written(
    name: str, texts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporters, "find_spec", lambda name: None)
    with pytest.raises(RecipeError) as refused:
        run_of(tmp_path / "run", texts, name)
    assert str(refused.value) == f"--report-to {name}: that package is not installed; pip install {name}"
    assert not (tmp_path / "run").exists()


def test_a_folder_that_a_reporter_has_left_is_not_taken_for_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("wandb") is not None:
        pytest.skip("the package wandb comes before a folder of its name")
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RecipeError, match="pip install wandb"):
        reporters.check_reporters(["wandb"])


def test_tensorboard_is_given_what_the_log_has_and_a_resumed_stage_hides_what_was_lost(
    texts: list[Path], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    def interrupt(progress: Progress) -> None:
        if progress.step == 10:
            raise KeyboardInterrupt

    first = run_of(tmp_path / "run", texts, "tensorboard", watcher=interrupt)
    first.make_parents()
    with pytest.raises(KeyboardInterrupt):
        first.run_stage("teacher")
    run_of(tmp_path / "run", texts, "tensorboard").run_stage("teacher")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "tiny-90" / "teacher" / "seed-0"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "train/tokens", "train/tokens_per_second"} <= set(
        events.Tags()["scalars"]
    )
    assert [(each.step, each.value) for each in events.Scalars("train/tokens")] == [
        (8, 8 * 128),
        (10, 10 * 128),
        (12, 12 * 128),
    ]
