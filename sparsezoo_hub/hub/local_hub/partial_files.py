"""Large files that arrive in numbered parts, so that a broken connection costs one part and not the file.

All parts are written into one file, each at its place: putting it together at the end moves no bytes. Its
SHA-256 is computed as the parts come in, in their order; if they do not, the file is read once at the end.
"""

import hashlib
import os
import re
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sparsezoo_hub.hub.local_hub.large_files import READ_SIZE, LargeFiles
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

# Larger files come in parts of this many bytes.
PART_SIZE = 16 << 20
SECONDS_TO_ARRIVE = 24 * 60 * 60

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")


def num_parts(size: int) -> int:
    """Return in how many parts a file of `size` bytes comes."""
    return -(-size // PART_SIZE)


def etag_of(upload: str, number: int) -> str:
    """Return what a client must give back to show that a part was received."""
    return f'"{upload}-{number}"'


class PartialFiles:
    """The files of one Hub that arrive in parts; they outlive a restart of the server.

    Args:
        root: the Hub's folder.
        large_files: where they are kept once they are whole.
    """

    def __init__(self, root: Path, large_files: LargeFiles) -> None:
        self._folder = root / "partial"
        self._large_files = large_files
        self._lock = threading.Lock()
        self._known: dict[str, _PartialFile] = {}

    def start(self) -> str:
        """Return the id of a new upload; what was never finished and is too old now is thrown away."""
        self._folder.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - SECONDS_TO_ARRIVE
        with self._lock:
            for path in self._folder.iterdir():
                if path.stat().st_mtime < oldest:
                    path.unlink()
            forgotten = [
                upload for upload, file in self._known.items() if file.started < oldest and not file.arriving
            ]
            for upload in forgotten:
                del self._known[upload]
        return secrets.token_hex(16)

    def receive(self, upload: str, pointer: LfsPointer, number: int) -> "ArrivingPart":
        """Return a part to write into; another one with its number that is still arriving takes no more.

        Args:
            upload: what `start` returned.
            pointer: the whole file.
            number: of the part, from 1 on.

        Raises:
            RefusalError: 404, if the file has no such part; 409, if it is whole already.
        """
        if not 1 <= number <= num_parts(pointer.size):
            raise RefusalError(
                404, f"{pointer.sha256} has the parts 1 to {num_parts(pointer.size)}, got {number}"
            )
        return self._find(upload, pointer).receive(number)

    def complete(self, upload: str, pointer: LfsPointer) -> None:
        """Keep the file among the others, all parts of which have arrived.

        Raises:
            RefusalError: 400, if its length or digest is another; 503, if a part is still arriving.
        """
        self._find(upload, pointer).complete(self._large_files)

    def _find(self, upload: str, pointer: LfsPointer) -> "_PartialFile":
        if not _UPLOAD_ID.fullmatch(upload):
            raise RefusalError(400, f"upload={upload!r} is none of this Hub's: start the upload again")
        with self._lock:
            if upload not in self._known:
                self._known[upload] = _PartialFile(self._folder / upload, upload, pointer)
            return self._known[upload]


class _PartialFile:
    """One file, and what this process knows of its parts.

    Every write is under one lock and checked against who may write the part, so that what was hashed is
    what lies on the disk: a large file is shared by all who know its digest.
    """

    def __init__(self, path: Path, upload: str, pointer: LfsPointer) -> None:
        self.path = path
        self.upload = upload
        self.pointer = pointer
        self.started = time.time()
        self.lock = threading.Lock()
        self.arriving: dict[int, ArrivingPart] = {}
        self.is_whole = False
        # Digest of the parts before `next_part`; None once something was written that it does not know of.
        self.digest = None if path.exists() else hashlib.sha256()
        self.next_part = 1

    def receive(self, number: int) -> "ArrivingPart":
        with self.lock:
            if self.is_whole:
                raise RefusalError(409, f"{self.pointer.sha256} is whole already: commit it")
            if number < self.next_part:
                self.digest = None
            part = ArrivingPart(self, number)
            self.arriving[number] = part
            return part

    def complete(self, large_files: LargeFiles) -> None:
        with self.lock:
            # A client whose answer was lost asks again.
            if self.is_whole:
                return
            if self.arriving:
                raise RefusalError(503, f"{self.pointer.sha256}: a part is still arriving: try again")
            got = self._read_pointer()
            if got != self.pointer:
                self.path.unlink(missing_ok=True)
                self.digest, self.next_part = hashlib.sha256(), 1
                raise RefusalError(
                    400,
                    f"the parts of {self.pointer.sha256} must make {self.pointer.size} bytes with that"
                    f" SHA-256, got {got.size} with {got.sha256}: nothing was stored, send them again",
                )
            large_files.take(self.path, self.pointer)
            self.is_whole = True

    def _read_pointer(self) -> LfsPointer:
        size = self.path.stat().st_size if self.path.exists() else 0
        if self.digest is not None and self.next_part > num_parts(self.pointer.size):
            return LfsPointer(self.digest.hexdigest(), size)
        digest = hashlib.sha256()
        if size == self.pointer.size:
            with self.path.open("rb") as file:
                while block := file.read(READ_SIZE):
                    digest.update(block)
        return LfsPointer(digest.hexdigest(), size)


class ArrivingPart:
    """A part while it is received: it counts only once `finish` has returned.

    Args:
        file: the file that it is of.
        number: its number, from 1 on.
    """

    def __init__(self, file: _PartialFile, number: int) -> None:
        self._file = file
        self._number = number
        self._start = (number - 1) * PART_SIZE
        self._digest = file.digest.copy() if file.digest is not None and number == file.next_part else None
        file.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.length = min(PART_SIZE, file.pointer.size - self._start)
        self.size = 0

    def write(self, block: bytes) -> None:
        """Append `block`.

        Raises:
            RefusalError: 400, if there is too much of it; 409, if the part is sent anew elsewhere.
        """
        with self._file.lock:
            self._check_open()
            if self.size + len(block) > self.length:
                raise RefusalError(400, f"part {self._number} must have {self.length} bytes, got more")
            if self._digest is not None:
                self._digest.update(block)
            left = memoryview(block)
            while left:
                num_written = os.pwrite(self._descriptor, left, self._start + self.size)
                self.size += num_written
                left = left[num_written:]

    def finish(self) -> str:
        """Say that there is no more, and return the part's ETag.

        Raises:
            RefusalError: 400, if something is missing; 409, if the part is sent anew elsewhere.
        """
        if self.size != self.length:
            raise RefusalError(
                400, f"part {self._number} must have {self.length} bytes, got {self.size}: send it again"
            )
        with self._file.lock:
            self._check_open()
            os.fsync(self._descriptor)
            if self._digest is not None and self._number == self._file.next_part:
                self._file.digest = self._digest
                self._file.next_part += 1
            else:
                self._file.digest = None
        return etag_of(self._file.upload, self._number)

    def close(self) -> None:
        """Take no more; what a part that was not finished has left is overwritten when it is sent again."""
        with self._file.lock:
            if self._file.arriving.get(self._number) is self:
                del self._file.arriving[self._number]
            os.close(self._descriptor)

    def _check_open(self) -> None:
        if self._file.arriving.get(self._number) is not self:
            raise RefusalError(409, f"part {self._number} of {self._file.pointer.sha256} is sent anew")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
