"""What lies in a Hub's folder: the large files, and what was left there by accident."""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.lfs_pointer import is_sha256
from sparsezoo_hub.hub.local_hub.partial_files import SECONDS_TO_ARRIVE
from sparsezoo_hub.hub.local_hub.root_lock import LOCK_FILE
from sparsezoo_hub.hub.local_hub.tokens import TOKEN_FILE, TOKENS_FOLDER

PARTIAL_FOLDER = "partial"
NOTE_SUFFIX = ".git-oid"
_TOKEN_ASIDE = re.compile(re.escape(TOKEN_FILE) + r"\.[0-9a-f]{16}")


def require_hub(root: Path) -> None:
    """Refuse a folder that is no Hub's.

    Raises:
        HubError: if `root` has no repositories' folder.
    """
    if not (root / "models").is_dir():
        raise HubError(f"{root} is no Hub's folder: there is no folder 'models' in it; check --root")


def is_served(root: Path) -> bool:
    """Whether a process holds `root` now; nothing is written to find out."""
    try:
        descriptor = os.open(root / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def large_files(root: Path) -> Iterator[Path]:
    """Yield every large file under `root`, in the order of their names."""
    for path in sorted((root / "objects").glob("*/*/*")):
        if is_large_file(path):
            yield path


def is_large_file(path: Path) -> bool:
    """Whether `path` lies where a large file of its name belongs."""
    name = path.name
    return is_sha256(name) and path.parts[-3:-1] == (name[:2], name[2:4]) and path.is_file()


def note_of(large_file: Path) -> Path:
    """Return where the git id of a large file is noted, if it was ever asked for."""
    return large_file.with_name(large_file.name + NOTE_SUFFIX)


def leftovers(root: Path, *, served: bool) -> list[Path]:
    """Return what a kill may have left behind: files and folders that nothing needs.

    Args:
        root: the Hub's folder.
        served: whether a server is at work; half received files and locks are its own then.
    """
    found = [path for path in root.iterdir() if _TOKEN_ASIDE.fullmatch(path.name)]
    found += (root / TOKENS_FOLDER).glob("new.*")
    for path in (root / "objects").glob("**/*"):
        is_note = path.name.endswith(NOTE_SUFFIX) and is_large_file(path.with_name(path.stem))
        if path.is_file() and not is_note and not is_large_file(path):
            found.append(path)
    if not served:
        # What came in parts waits for the rest: its client may go on when the server is there again.
        oldest = time.time() - SECONDS_TO_ARRIVE
        found += [path for path in (root / PARTIAL_FOLDER).glob("*") if path.stat().st_mtime < oldest]
        found += [path for folder in ("arriving", "aside") for path in (root / folder).glob("*")]
        found += (root / "models").glob("*/*.git/**/*.lock")
        found += (root / "models").glob("*/*.git/*/*.partial")
    return sorted(found)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def bytes_in(path: Path) -> int:
    """Return the length of a file, or of all files in a folder, in bytes."""
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(each.lstat().st_size for each in paths if not each.is_dir())
