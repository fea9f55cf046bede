"""Token cache: the rows of chunks on the disk, so that no text is tokenized twice."""

import logging
import os
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sparsezoo_hub.errors import write_errors
from sparsezoo_hub.training.streams.packed_rows import PackedRows

logger = logging.getLogger(__name__)

_CHECKSUM = "crc32"
# A chunk that is not there: the unit ended before.
_END = "end"


class TokenCache:
    """Keeps rows, a safetensors file for each chunk.

    Files are written aside and moved, so several processes, and several runs, can share a folder.

    Args:
        folder: made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str, chunk: int) -> tuple[bool, PackedRows | None]:
        """Return whether a chunk is kept, and its rows; None behind a unit's last chunk.

        A damaged file counts as none, with a warning, and is written anew.

        Args:
            key: of the unit, the tokenizer and the rows' settings.
            chunk: its number.
        """
        path = self._path(key, chunk)
        try:
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except FileNotFoundError:
            return False, None
        except (SafetensorError, OSError) as error:
            logger.warning("%s is damaged (%s) and is written anew", path, error)
            return False, None
        rows = PackedRows(arrays)
        if metadata.get(_CHECKSUM) != _checksum(rows):
            logger.warning("%s is damaged (its checksum differs) and is written anew", path)
            return False, None
        return True, None if _END in metadata else rows

    def write(self, key: str, chunk: int, rows: PackedRows | None) -> None:
        """Keep the rows of a chunk; None is kept as a unit's end.

        Raises:
            PackageError: if the folder cannot be written.
        """
        path = self._path(key, chunk)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        kept = PackedRows.of([]) if rows is None else rows
        metadata = {_CHECKSUM: _checksum(kept), **({_END: "true"} if rows is None else {})}
        with write_errors(self.folder):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                save_file(kept.arrays, partial, metadata)
                partial.replace(path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise

    def _path(self, key: str, chunk: int) -> Path:
        return self.folder / key[:2] / key / f"{chunk:06}.safetensors"


def _checksum(rows: PackedRows) -> str:
    checksum = 0
    for name in sorted(rows.arrays):
        array = rows.arrays[name]
        checksum = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.tobytes(), checksum)
    return f"{checksum:08x}"
