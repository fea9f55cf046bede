"""Write errors: what an operating system refuses, as one line that says what to do."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from sparsezoo_hub.errors import PackageError, SparseZooError

# Libraries written in Rust put the number into the text of an error of their own.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space, or choose a folder on another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another folder",
    errno.EFBIG: "the file is larger than allowed here: raise the limit (ulimit -f)",
    errno.EACCES: "no permission to write there: choose another folder, or change its permissions",
    errno.EPERM: "no permission to write there: choose another folder, or change its permissions",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of the path is a file: choose another folder",
    errno.EEXIST: "a part of the path is a file: choose another folder",
}
_OTHERWISE = "look whether the disk is full, or choose another folder"


@contextlib.contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn a refusal of the operating system inside the block into a PackageError about ``folder``.

    Raises:
        PackageError: in place of an OSError, or of a library's error that reports one.
    """
    try:
        yield
    except SparseZooError:
        raise
    except Exception as error:
        number = _errno(error)
        if number is None and not isinstance(error, OSError):
            raise
        # numpy reports a short write as an OSError without a number.
        reason = " ".join(str(error).split()) if number is None else os.strerror(number)
        remedy = _OTHERWISE if number is None else _REMEDIES.get(number, _OTHERWISE)
        raise PackageError(f"{folder} cannot be written: {reason}; {remedy}") from error


def _errno(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = _OS_ERROR.search(str(error))
    return int(match[1]) if match else None
