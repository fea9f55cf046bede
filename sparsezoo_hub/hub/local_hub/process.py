"""The Hub as a child process, for tests, quickstarts and whoever needs one for a while."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.tokens import write_token

SECONDS_TO_STOP = 15


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where a Hub is, and what writing to it needs.

    Args:
        url: for `HF_ENDPOINT` or `HfApi(endpoint=...)`.
        token: for `HF_TOKEN` or `HfApi(token=...)`.
        pid: the server's process.
    """

    url: str
    token: str = field(repr=False)
    pid: int


@contextmanager
def running_hub(root: Path, port: int = 0) -> Iterator[HubAddress]:
    """Serve the Hub under `root` from a child process until the block ends, or this process does.

    Args:
        root: the Hub's folder; created if it is missing.
        port: on 127.0.0.1; 0 takes a free one.

    Raises:
        HubError: with the child's own words, if it cannot serve.
    """
    token = write_token(root)
    command = [
        *(sys.executable, "-m", "sparsezoo_hub.hub.local_hub"),
        *("--root", os.fspath(root.absolute()), "--port", str(port), "--until-stdin-closes"),
    ]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        ) as child,
    ):
        try:
            yield HubAddress(_wait_until_started(child, complaints), token, child.pid)
        finally:
            _stop(child)


def _wait_until_started(child: subprocess.Popen[bytes], complaints: IO[bytes]) -> str:
    # The line comes once the Hub accepts connections, or never if it ends: then the pipe closes.
    line = b"" if child.stdout is None else child.stdout.readline()
    if line:
        return line.decode().strip()
    code = child.wait()
    complaints.seek(0)
    said = complaints.read().decode(errors="replace").strip()
    raise HubError(
        said.splitlines()[-1] if said else f"the Hub's process ended with code {code} and said nothing"
    )


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
