"""Signals: noted while steps are under way, obeyed otherwise, and left to the parent by its workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsezoo_hub.training.stop_signals import (
    EXIT_CODE,
    STOP_SIGNALS,
    Interrupted,
    deferred,
    interruptible,
    leave_to_the_parent,
    received,
)


def exit_code(work: Callable[[], None]) -> int:
    """Of a fork that does the work; negative for a signal."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_outside_of_steps_a_signal_ends_the_process_at_once_with_the_code_to_start_it_again(
    number: signal.Signals,
) -> None:
    with interruptible(), pytest.raises(Interrupted, match="75") as ended:
        signal.raise_signal(number)
    assert ended.value.code == EXIT_CODE
    assert number.name in ended.value.message


def test_a_signal_that_was_blocked_before_is_obeyed_and_blocked_again_afterwards() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        with pytest.raises(Interrupted), interruptible():
            signal.raise_signal(signal.SIGUSR1)
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def send(*numbers: signal.Signals) -> None:
    """Send signals while steps are under way."""
    with deferred():
        for each in numbers:
            signal.raise_signal(each)
            assert received() == each


def test_while_steps_are_under_way_a_signal_is_only_noted() -> None:
    assert received() is None
    with interruptible(), pytest.raises(Interrupted) as ended:
        send(signal.SIGINT, signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM)
    assert "SIGTERM" in ended.value.message
    assert received() is None


def test_ctrl_c_ends_at_once_outside_of_steps_and_the_second_time_within() -> None:
    with interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT, signal.SIGINT)


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = [signal.getsignal(each) for each in STOP_SIGNALS]
    with interruptible():
        assert [signal.getsignal(each) for each in STOP_SIGNALS] != before
    assert [signal.getsignal(each) for each in STOP_SIGNALS] == before


def test_in_a_child_of_the_run_a_signal_does_what_it_always_does() -> None:
    with interruptible(), deferred():
        for each in STOP_SIGNALS:
            assert exit_code(lambda each=each: signal.raise_signal(each)) == -each
        assert received() is None


def test_a_signal_to_all_processes_of_a_run_does_not_reach_its_data_workers() -> None:
    def run() -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the run itself goes on to its checkpoint
        ready, tell = os.pipe()

        def worker() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            leave_to_the_parent()
            os.write(tell, b".")
            signal.pause()

        child = os.fork()
        if child == 0:
            worker()
        os.read(ready, 1)
        os.killpg(0, signal.SIGTERM)
        alive = os.waitpid(child, os.WNOHANG) == (0, 0)
        os.kill(child, signal.SIGUSR2)  # the run itself ends it
        os._exit(0 if alive and os.waitpid(child, 0)[1] == signal.SIGUSR2 else 1)

    assert exit_code(run) == 0


LAUNCHER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
"""
RUN = """
import pathlib, time
from sparsezoo_hub.training.stop_signals import deferred, interruptible, received
with interruptible(), deferred():
    pathlib.Path("ready").touch()
    end = time.monotonic() + 60
    while received() is None and time.monotonic() < end:
        time.sleep(0.01)
    pathlib.Path("noted").write_text(f"{received():d}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells on Linux alone")
def test_a_launcher_that_dies_without_a_word_is_a_signal_to_its_run(tmp_path: Path) -> None:
    script = tmp_path / "accelerate"
    script.write_text(LAUNCHER)
    launcher = subprocess.Popen(
        [sys.executable, str(script), RUN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    assert launcher.stdout is not None
    int(launcher.stdout.readline())
    wait_for(tmp_path / "ready")
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    wait_for(tmp_path / "noted")
    assert (tmp_path / "noted").read_text() == str(int(signal.SIGTERM))


def wait_for(path: Path) -> None:
    end = time.monotonic() + 90
    while not path.exists() or (path.name == "noted" and not path.read_text()):
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)
