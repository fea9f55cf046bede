"""Large files, kept once each under their SHA-256."""

import hashlib
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, is_sha256
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

# Syncing as the bytes come in leaves little for the end, where a client is waiting for the answer.
SYNC_EVERY = 64 << 20
READ_SIZE = 1 << 20


class LargeFiles:
    """The large files of every repository under one root.

    Args:
        root: the Hub's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "objects"
        self._arriving = root / "arriving"

    def prepare(self) -> None:
        """Create the folders, and throw away what an earlier server left half received."""
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._arriving, ignore_errors=True)
        self._arriving.mkdir(parents=True)

    def path(self, sha256: str) -> Path:
        """Return where the file with this digest lies, or would lie."""
        if not is_sha256(sha256):
            raise RefusalError(400, f"{sha256!r} is no SHA-256: it has 64 lower-case hexadecimal digits")
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    def size(self, sha256: str) -> int | None:
        """Return the length in bytes of the file with this digest, None if it is not here."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def git_oid(self, sha256: str) -> str:
        """Return the SHA-1 that git would give to the whole file; computed once, then remembered beside it.

        The client sends files up to a limit as if they were git blobs, and skips one only if this fits.
        """
        path = self.path(sha256)
        note = path.with_name(path.name + ".git-oid")
        if note.exists():
            return note.read_text(encoding="ascii")
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(READ_SIZE):
                digest.update(block)
        aside = self._arriving / secrets.token_hex(16)
        aside.write_text(digest.hexdigest(), encoding="ascii")
        aside.replace(note)
        return digest.hexdigest()

    def take(self, aside: Path, pointer: LfsPointer) -> None:
        """Move a file that is `pointer`'s, and that the disk has, among the others."""
        path = self.path(pointer.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(path)
        for folder in path.parents[:3]:  # the upper two may be new as well
            sync_folder(folder)

    def arriving(self) -> "ArrivingFile":
        """Return a file to write into; `keep` puts it among the others."""
        return ArrivingFile(self, self._arriving / secrets.token_hex(16))


class ArrivingFile:
    """A large file while it is received: it counts only once `keep` has returned.

    Args:
        store: where it will be kept.
        aside: the path it is written to meanwhile.
    """

    def __init__(self, store: LargeFiles, aside: Path) -> None:
        self._store = store
        self._aside = aside
        self._file: BinaryIO = aside.open("xb")
        self._digest = hashlib.sha256()
        self._unsynced = 0
        self.size = 0

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Append `block`."""
        self._file.write(block)
        self._digest.update(block)
        self.size += len(block)
        self._unsynced += len(block)
        if self._unsynced >= SYNC_EVERY:
            self._sync()

    def keep(self, expected: LfsPointer | None = None) -> LfsPointer:
        """Move the file among the others and return its pointer.

        Args:
            expected: what it must be, if that is known beforehand.

        Raises:
            RefusalError: 400, if its length or its digest is another; nothing is kept then.
        """
        pointer = LfsPointer(self._digest.hexdigest(), self.size)
        if expected is not None and pointer != expected:
            raise RefusalError(
                400,
                f"the upload of {expected.sha256} must have {expected.size} bytes with that SHA-256, got"
                f" {pointer.size} bytes with {pointer.sha256}: nothing was stored, send it again",
            )
        self._sync()
        self._file.close()
        self._store.take(self._aside, pointer)
        return pointer

    def close(self) -> None:
        """Throw the file away unless it was kept."""
        self._file.close()
        self._aside.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced = 0


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows the names in `folder`, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
