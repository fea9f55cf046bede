"""One server process per root."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsezoo_hub.errors import HubError

LOCK_FILE = "lock"


@contextmanager
def locked_root(root: Path) -> Iterator[None]:
    """Hold `root` for this process alone; the system lets go of it when the process ends, however it ends.

    Raises:
        HubError: if another server holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK_FILE).open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise HubError(
                f"{root} is already served by process {holder}: use that server, or choose another --root"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
