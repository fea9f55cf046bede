"""Placement: a folder is written aside and moved into place whole, or not at all."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sparsezoo_hub.errors import PackageError, write_errors
from sparsezoo_hub.packaging.layout import MANIFEST


@contextlib.contextmanager
def placed(folder: Path) -> Iterator[Path]:
    """Give the block an empty folder to fill, and put it in the place of ``folder`` when the block ends.

    Whatever goes wrong before, Ctrl-C included, ``folder`` stays as it was and nothing is left beside it.

    Args:
        folder: a package to replace, an empty folder, or a path where nothing is yet.

    Raises:
        PackageError: if ``folder`` is something else, which is never deleted, or cannot be written.
    """
    with write_errors(folder):
        target = folder.resolve()
        _check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that moving it is a rename and never a copy.
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            staging = aside / "new"
            staging.mkdir()  # unlike mkdtemp's own folder, open to whom the user's umask says
            yield staging
            _replace(target, staging, aside / "old")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _check_replaceable(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise PackageError(f"{target} is a file: a package is a folder, choose another name")
    if any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise PackageError(
            f"{target} has files and is no package (no {MANIFEST}), so it is not replaced: "
            "choose another folder"
        )


def _replace(target: Path, staging: Path, old: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    target.rename(old)
    try:
        staging.rename(target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        raise
