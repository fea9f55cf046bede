"""File locks between processes, also of several machines where their file system has them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsezoo_hub.errors import PackageError


@contextmanager
def file_lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock for the block; the system lets go of it when the process ends, however it ends.

    The file stays: another process may have opened it already, and would hold a lock that nobody sees.

    Args:
        path: of the lock; made with its folder.
        wait: whether to wait for a process that holds it.

    Yields:
        Whether it is held here; never False if ``wait``.

    Raises:
        PackageError: if the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise PackageError(
                f"{path}: cannot be locked ({error.strerror}): choose another file system"
            ) from None
        yield True
