"""Stop signals: SIGTERM, SIGUSR1 and Ctrl-C end a run where it can be gone on from.

This module imports nothing heavy, so that a command line can listen from its first moment.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

# EX_TEMPFAIL of sysexits.h: nothing is wrong, start it again.
EXIT_CODE = 75
# SIGUSR1 is what Slurm's --signal can send before a job's time is over.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
_LAUNCHERS = ("accelerate", "accelerate.commands.launch", "torchrun", "torch.distributed.run")
_PR_SET_PDEATHSIG = 1


class Interrupted(SystemExit):
    """A run was asked to stop, and has: the process exits with ``EXIT_CODE`` unless somebody catches it.

    Args:
        message: one line: what stopped it, and how to go on.
    """

    def __init__(self, message: str) -> None:
        super().__init__(EXIT_CODE)
        self.message = message


@dataclass
class _Watch:
    """Signals belong to a process, so this does too."""

    received: signal.Signals | None = None
    in_steps: bool = False
    owner: int = 0


_watch = _Watch()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Listen to ``STOP_SIGNALS`` inside the block.

    While a stage's steps are under way, a signal is noted, and the run ends after the step with a checkpoint
    (``Interruption``). Ctrl-C a second time ends it at once, and so does any signal outside of the steps:
    there is nothing to save then. A launcher that dies (``accelerate launch`` does not pass SIGTERM on to
    its only process) counts as SIGTERM.

    Only a process's main thread can listen; in another one, nothing is changed.

    Raises:
        Interrupted: inside the block.
        KeyboardInterrupt: after Ctrl-C, at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, _note) for each in STOP_SIGNALS}
    # Whoever started this process may have left them blocked.
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _watch.owner = os.getpid()
    _follow_launcher()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for each, handler in before.items():
            signal.signal(each, handler)
        _watch.received = None


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Only note signals inside the block; who takes its steps asks ``received``.

    Raises:
        Interrupted: at the end of the block, if a signal came after the last question.
    """
    _watch.in_steps = True
    try:
        yield
    finally:
        _watch.in_steps = False
    if _watch.received is not None:
        raise Interrupted(_between_steps(_watch.received))


def received() -> signal.Signals | None:
    """Return the last signal that came inside ``interruptible``, None if none has come."""
    return _watch.received


def leave_to_the_parent(worker: int = 0) -> None:
    """Take a data worker out of the group of processes that a launcher or a terminal signals.

    A worker that died of such a signal would end training with an error before the checkpoint is written. The
    process that it works for still ends it, and it ends by itself when that one is gone.

    Args:
        worker: its number, which a DataLoader's ``worker_init_fn`` is given.
    """
    del worker
    os.setpgid(0, 0)


def _note(number: int, frame: FrameType | None) -> None:
    del frame
    if os.getpid() != _watch.owner:  # a fork of ours that somebody else ends
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    earlier, _watch.received = _watch.received, signal.Signals(number)
    if number == signal.SIGINT and (earlier == signal.SIGINT or not _watch.in_steps):
        raise KeyboardInterrupt
    if not _watch.in_steps:
        raise Interrupted(_between_steps(_watch.received))


def _between_steps(number: signal.Signals) -> str:
    return (
        f"interrupted by {number.name} outside of a stage's steps: the same command goes on from what is "
        "finished, or from the last checkpoint"
    )


def _follow_launcher() -> None:
    """Ask the kernel for a SIGTERM when the launcher that started this process is gone."""
    if not sys.platform.startswith("linux"):
        return
    try:
        command = Path(f"/proc/{os.getppid()}/cmdline").read_text()
    except OSError:
        return
    if any(Path(argument).name in _LAUNCHERS for argument in command.split("\0")):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
