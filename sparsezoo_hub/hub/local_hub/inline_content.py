"""A file's content that comes inside a commit."""

import binascii

from sparsezoo_hub.hub.local_hub.large_files import ArrivingFile, LargeFiles
from sparsezoo_hub.hub.local_hub.lfs_pointer import LARGE_SIZE, LfsPointer
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

# The largest file that the client is told to send inside a commit. It holds about four times as much in
# memory for that, measured; larger files go their own way.
MAX_INLINE = 512 << 20


class InlineContent:
    """Content that is received in base64: in memory while it is small, on disk from `LARGE_SIZE` on.

    Args:
        large_files: where it goes when it is large.
    """

    def __init__(self, large_files: LargeFiles) -> None:
        self._large_files = large_files
        self._memory = bytearray()
        self._arriving: ArrivingFile | None = None
        self._carry = b""
        self._padded = False
        self.size = 0
        self.complete = False

    @property
    def small_size(self) -> int:
        """How many bytes of memory it takes."""
        return len(self._memory)

    def write_base64(self, text: bytes) -> None:
        """Decode and append `text`.

        Raises:
            RefusalError: 400, if it is not base64; 413, if there is too much of it.
        """
        text = self._carry + text
        whole = len(text) - len(text) % 4
        self._carry = text[whole:]
        if whole:
            self._append(self._decode(text[:whole]))

    def complete_base64(self) -> None:
        """Say that there is no more.

        Raises:
            RefusalError: 400, if the text ended too early.
        """
        if self._carry:
            raise RefusalError(
                400, "a file's content in the commit is cut off: its base64 is no multiple of 4 long"
            )
        self.complete = True

    def small(self) -> bytes | None:
        """Return the content if it is small, else None."""
        return None if self._arriving is not None else bytes(self._memory)

    def keep_large(self) -> LfsPointer:
        """Keep the content as a large file and return its pointer."""
        arriving = self._spill()
        return arriving.keep()

    def close(self) -> None:
        """Throw the content away unless it was kept."""
        if self._arriving is not None:
            self._arriving.close()

    def _append(self, block: bytes) -> None:
        self.size += len(block)
        if self.size > MAX_INLINE:
            raise RefusalError(
                413,
                f"a file inside the commit is larger than {MAX_INLINE} bytes: set HF_HUB_DISABLE_XET=1, so"
                " that it is uploaded by itself",
            )
        if self._arriving is None and self.size <= LARGE_SIZE:
            self._memory += block
        else:
            self._spill().write(block)

    def _spill(self) -> ArrivingFile:
        if self._arriving is None:
            self._arriving = self._large_files.arriving()
            self._arriving.write(self._memory)
            self._memory.clear()
        return self._arriving

    def _decode(self, text: bytes) -> bytes:
        if self._padded:
            raise RefusalError(
                400, "a file's content in the commit is not base64: it goes on after its padding"
            )
        self._padded = text.endswith(b"=")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise RefusalError(400, f"a file's content in the commit is not base64: {error}") from None
