"""Real kills, real signals, a real disk that is full: what a run leaves, says and goes on from."""

import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_processes import ended, words
from interrupted_case import BATCH, STAGES, digests, interrupt_at, started
from launched_case import Inputs, Strike, launch, said

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.training.checkpoint_files import MANIFEST, UNFINISHED, checkpoints_in, fault, step_of
from sparsezoo_hub.training.checkpoints import Checkpoints
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stop_signals import EXIT_CODE, interruptible

STAGE = "magnitude"
STEPS = STAGES[STAGE][0]


@pytest.fixture(scope="session")
def whole(whole: RecipeRun) -> Path:
    """The folder of a run that was never interrupted; no test may change it."""
    return whole.out


def begun(whole: Path, out: Path) -> Path:
    """A run's folder in which only the first stage is done."""
    return Path(shutil.copytree(whole, out, ignore=shutil.ignore_patterns(*list(STAGES)[1:])))


def of_stage(found: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in found.items() if f"/{STAGE}/" in name}


def kill() -> None:
    raise ConnectionAbortedError


@pytest.fixture(scope="module")
def cut(whole: Path, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run that was cut off near a stage's end; no test may change them."""
    run = started(begun(whole, tmp_path_factory.mktemp("cut") / "run"), inputs, every=3)
    interrupt_at(run, STAGE, (STEPS - 2) * BATCH, kill)
    with pytest.raises(ConnectionAbortedError):
        run.run_stage(STAGE)
    return run.out / "stages" / STAGE / "seed-0.checkpoints"


def change_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change_a_fact(path: Path) -> None:
    text = path.read_text()
    assert '"processes": 1' in text
    path.write_text(text.replace('"processes": 1', '"processes": 2'))


HARMS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "bit": ("model.safetensors", change_a_bit, "is not what was written"),
    "end": ("optimizer.pt", truncate, "bytes, not"),
    "random state": ("rng_state.pth", Path.unlink, "is missing"),
    "list": (MANIFEST, change_a_fact, "is not what was written"),
    "no list": (MANIFEST, Path.unlink, "is missing"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_checkpoint_that_is_not_whole_is_named_and_the_one_before_is_taken(
    harm: str, cut: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scratch = Path(shutil.copytree(cut, tmp_path / "scratch"))
    older, newest = checkpoints_in(scratch)
    name, change, reason = HARMS[harm]
    change(newest / name)
    assert Checkpoints(scratch, {}).resume() == older
    (warning,) = (each.getMessage() for each in caplog.records)
    assert str(newest) in warning
    assert f"{name} " in warning
    assert reason in warning


def test_what_a_kill_leaves_half_written_is_ignored_and_removed(cut: Path, tmp_path: Path) -> None:
    scratch = Path(shutil.copytree(cut, tmp_path / "scratch"))
    older, newest = checkpoints_in(scratch)
    (scratch / UNFINISHED).mkdir()
    newest.rename(scratch / UNFINISHED / newest.name)
    assert Checkpoints(scratch, {}).resume() == older
    assert list(scratch.iterdir()) == [older]


def test_a_run_that_goes_on_writes_checkpoints_as_often_as_it_is_told_now(
    cut: Path, inputs: Inputs, tmp_path: Path
) -> None:
    assert [step_of(each) for each in checkpoints_in(cut)] == [3, 6]
    run = started(Path(shutil.copytree(cut.parents[2], tmp_path / "run")), inputs, every=4)
    interrupt_at(run, STAGE, 4 * BATCH, kill)  # in step 9
    with pytest.raises(ConnectionAbortedError):
        run.run_stage(STAGE)
    scratch = run.out / "stages" / STAGE / "seed-0.checkpoints"
    assert [step_of(each) for each in checkpoints_in(scratch)] == [6, 8]


@pytest.mark.parametrize("limit", [20_000, 60_000])  # less than the weights' bytes, or than the optimizer's
def test_a_full_disk_is_one_line_that_names_folder_and_bytes_and_loses_nothing(
    limit: int, whole: Path, inputs: Inputs, tmp_path: Path
) -> None:
    out = begun(whole, tmp_path / "run")
    run = started(out, inputs, every=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    interrupt_at(run, STAGE, 4 * BATCH, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1])))
    try:
        with pytest.raises(PackageError) as error:
            run.run_stage(STAGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    scratch = out / "stages" / STAGE / "seed-0.checkpoints"
    message = str(error.value)
    assert message.startswith(f"{scratch} cannot be written: ")
    assert "a checkpoint needs about 0.1 MB" in message
    assert f"{scratch / 'checkpoint-2'} is still there" in message
    assert "\n" not in message
    assert [path.name for path in scratch.iterdir()] == ["checkpoint-2"]
    started(out, inputs, every=2).run_stage(STAGE)
    assert of_stage(digests(out)) == of_stage(digests(whole))


def test_ctrl_c_twice_ends_at_once_without_another_checkpoint(
    whole: Path, inputs: Inputs, tmp_path: Path
) -> None:
    run = started(begun(whole, tmp_path / "run"), inputs, every=1000)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    interrupt_at(run, STAGE, 2 * BATCH, twice)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        run.run_stage(STAGE)
    assert checkpoints_in(run.out / "stages" / STAGE / "seed-0.checkpoints") == []


def test_a_run_that_is_killed_at_any_moment_ends_bit_for_bit_like_one_that_was_not(
    whole: Path, inputs: Inputs, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    generator = random.Random(0)  # noqa: S311 - not a secret
    for _ in range(3):
        (process,) = launch(out, inputs, every=1)  # most of the time, a checkpoint is being written
        process.join(generator.uniform(1, 4))
        process.kill()
        process.join()
    (process,) = launch(out, inputs, every=3)
    assert ended([process]) == [0], words(said(out))
    assert digests(out) == digests(whole)


def test_sigterm_ends_a_run_with_its_code_after_the_step_with_a_checkpoint(
    whole: Path, inputs: Inputs, tmp_path: Path
) -> None:
    out = begun(whole, tmp_path / "run")
    scratch = out / "stages" / STAGE / "seed-0.checkpoints"
    processes = launch(out, inputs, every=1000, strike=Strike(0, STAGE, 5 * BATCH, signal.SIGTERM))
    assert ended(processes) == [EXIT_CODE], words(said(out))
    (checkpoint,) = checkpoints_in(scratch)
    spoken = words(said(out))
    assert (
        f"interrupted by SIGTERM after step {checkpoint.name.removeprefix('checkpoint-')} of stage" in spoken
    )
    assert str(checkpoint) in spoken
    assert "Traceback" not in spoken
    started(out, inputs, every=1000).run_stage(STAGE)
    assert of_stage(digests(out)) == of_stage(digests(whole))


@pytest.mark.distributed
def test_a_signal_to_one_of_two_processes_ends_both_after_the_same_step(
    whole: Path, inputs: Inputs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = begun(whole, tmp_path / "run")
    scratch = out / "stages" / STAGE / "seed-0.checkpoints"
    strike = Strike(1, STAGE, 5 * BATCH // 2, signal.SIGUSR1)
    processes = launch(out, inputs, every=1000, processes=2, strike=strike)
    assert ended(processes) == [EXIT_CODE, EXIT_CODE], words(said(out, 0)) + words(said(out, 1))
    (checkpoint,) = checkpoints_in(scratch)
    assert fault(checkpoint) is None
    assert {path.name for path in checkpoint.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    spoken = words(said(out, 0))
    assert "interrupted by SIGUSR1 after step" in spoken
    assert "interrupted" not in words(said(out, 1))  # of both, one speaks
    result = started(out, inputs, every=1000).run_stage(STAGE)[0]  # alone
    assert result.steps == STEPS
    (warning,) = (each.getMessage() for each in caplog.records if each.name.endswith(".checkpoints"))
    assert "processes 2 (now 1), batch per process 2 (now 4)" in warning


@pytest.mark.distributed
def test_when_one_of_two_processes_is_killed_the_other_ends_with_one_line(
    whole: Path, inputs: Inputs, tmp_path: Path
) -> None:
    out = begun(whole, tmp_path / "run")
    strike = Strike(1, STAGE, 5 * BATCH // 2, signal.SIGKILL)
    processes = launch(out, inputs, every=1000, processes=2, strike=strike)
    assert ended(processes, 60) == [1, -signal.SIGKILL]
    spoken = words(said(out, 0))
    assert "error: the connection to another process of this run is lost" in spoken
    assert "Traceback" not in spoken
