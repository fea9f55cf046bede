"""Every error that this package raises on purpose.

The tree::

    SparseZooError
    ├── RecipeError        (ValueError)    a recipe cannot be read or does not fit
    ├── SparsityError      (ValueError)    a sparsity outside [0, 1) or out of reach
    ├── TargetError        (ValueError)    a target that matches no weight
    ├── MaskError          (ValueError)    masks that do not fit their weights
    ├── LockError          (RuntimeError)  a pattern lock that cannot hold
    ├── QuantizationError  (ValueError)    int8 ranges that are missing or do not fit
    ├── CorpusError        (ValueError)    text or task data that cannot be used
    ├── BackboneError      (ValueError)    a backbone that cannot be used
    ├── WorkerError        (RuntimeError)  one of several processes that was lost
    ├── LossError          (RuntimeError)  a training loss that is no number, or has exploded
    ├── PackageError       (RuntimeError)  a package that cannot be written or read
    │   └── VerificationError              a package that is not what it promises
    └── HubError           (RuntimeError)  a Hub that refuses or fails

A message is one line: what is wrong, where, what was got, what to do. The command line prints it and
exits with code 1; anything that is not a SparseZooError is a defect of ours. ``write_errors`` makes one of
what an operating system refuses.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

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


class SparseZooError(Exception):
    """Base of every error that this package raises on purpose."""


class RecipeError(SparseZooError, ValueError):
    """A recipe cannot be read, or does not fit what it is applied to."""


class SparsityError(SparseZooError, ValueError):
    """A sparsity lies outside [0, 1) or cannot be reached."""


class TargetError(SparseZooError, ValueError):
    """A target pattern matches no weight."""


class MaskError(SparseZooError, ValueError):
    """Masks do not fit the weights they are meant for."""


class LockError(SparseZooError, RuntimeError):
    """A pattern lock cannot hold, or is used where there is none."""


class QuantizationError(SparseZooError, ValueError):
    """The ranges of an int8 model are missing, or do not fit the model."""


class CorpusError(SparseZooError, ValueError):
    """Text or task data cannot be used."""


class BackboneError(SparseZooError, ValueError):
    """A backbone model cannot be used."""


class WorkerError(SparseZooError, RuntimeError):
    """One of the processes that train together was lost."""


class LossError(SparseZooError, RuntimeError):
    """A training loss is no number any more, or has exploded."""


class PackageError(SparseZooError, RuntimeError):
    """A package cannot be written or read."""


class VerificationError(PackageError):
    """A package is not what it promises."""


class HubError(SparseZooError, RuntimeError):
    """A Hub refuses a request or fails."""


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
