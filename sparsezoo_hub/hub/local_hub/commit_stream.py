"""A commit as the client sends it: one JSON object per line, read while it arrives.

A file's content stands in its line in base64, and may be half a gigabyte long. So the content is decoded
as it comes, and goes to disk above `LARGE_SIZE`: memory stays constant, however large the commit is.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from sparsezoo_hub.hub.local_hub.inline_content import InlineContent
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.lfs_pointer import is_sha256
from sparsezoo_hub.hub.local_hub.names import check_file_path, is_unicode
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

MAX_LINE = 16 << 20  # of a line without a streamed content
MAX_SMALL = 128 << 20  # of all small files and lines of one commit together

# The client writes a file's line with the content first; what is sent otherwise is read as a whole line.
_CONTENT_FOLLOWS = re.compile(
    rb'\s*\{\s*"key"\s*:\s*"file"\s*,\s*"value"\s*:\s*\{\s*"content"\s*:\s*"',
)
_LONGEST_START = 128
_REST_OF_LINE = b'{"key":"file","value":{"content":'


@dataclass(slots=True)
class AddFile:
    """Add or replace a file whose content came with the commit."""

    path: str
    content: InlineContent


@dataclass(slots=True)
class AddLarge:
    """Add or replace a file that was uploaded before; `size` is None if the client left it out."""

    path: str
    sha256: str
    size: int | None


@dataclass(slots=True)
class Delete:
    """Delete a file, or a folder with all that is in it."""

    path: str
    is_folder: bool


Operation = AddFile | AddLarge | Delete


@dataclass(slots=True)
class CommitRequest:
    """A whole commit, as the client sent it.

    Args:
        message: title, and after an empty line the description.
        parent: the commit that the branch must stand at, or its beginning.
        operations: in the order they were sent.
    """

    message: str = ""
    parent: str | None = None
    operations: list[Operation] = field(default_factory=list)


class CommitStream:
    """Reads a commit from blocks of bytes.

    Args:
        large_files: where contents above `LARGE_SIZE` are received.
    """

    def __init__(self, large_files: LargeFiles) -> None:
        self._large_files = large_files
        self._request = CommitRequest()
        self._buffer = bytearray()
        self._content: InlineContent | None = None
        self._has_header = False
        self._small = 0

    def feed(self, block: bytes) -> None:
        """Read `block`.

        Raises:
            RefusalError: 400 or 413, if it is not what a commit may be.
        """
        self._buffer += block
        while self._buffer and self._step(ended=False):
            pass

    def finish(self) -> CommitRequest:
        """Return the commit once all of it was fed.

        Raises:
            RefusalError: 400, if something is missing.
        """
        while self._buffer and self._step(ended=True):
            pass
        if self._content is not None:
            raise _malformed("the last line ends inside a file's content")
        if not self._has_header:
            raise _malformed("there is no header line with a summary")
        return self._request

    def close(self) -> None:
        """Throw away the received contents that were not kept."""
        contents = [
            operation.content for operation in self._request.operations if isinstance(operation, AddFile)
        ]
        if self._content is not None:
            contents.append(self._content)
        for content in contents:
            content.close()

    def _step(self, *, ended: bool) -> bool:
        """Take the next piece off the buffer; False if more bytes are needed for that."""
        if self._content is not None and not self._content.complete:
            return self._take_content()
        if self._content is None:
            start = _CONTENT_FOLLOWS.match(self._buffer)
            if start is not None:
                del self._buffer[: start.end()]
                self._content = InlineContent(self._large_files)
                return True
            if not ended and len(self._buffer) < _LONGEST_START and b"\n" not in self._buffer:
                return False
        return self._take_line(ended=ended)

    def _take_content(self) -> bool:
        end = self._buffer.find(b'"')
        piece = bytes(self._buffer) if end < 0 else bytes(self._buffer[:end])
        content = self._content
        if content is None:
            return False
        content.write_base64(piece)
        del self._buffer[: len(piece)]
        if end < 0:
            return False
        # The quote stays in the buffer: with it, the rest of the line is JSON again.
        content.complete_base64()
        self._count_small(content.small_size)
        self._buffer[:0] = _REST_OF_LINE + b'"'
        return True

    def _take_line(self, *, ended: bool) -> bool:
        end = self._buffer.find(b"\n")
        if max(end, 0) > MAX_LINE or (end < 0 and len(self._buffer) > MAX_LINE):
            raise RefusalError(
                413, f"a line of the commit is longer than {MAX_LINE} bytes: send less in one commit"
            )
        if end < 0:
            if not ended:
                return False
            end = len(self._buffer)
        line = bytes(self._buffer[:end]).strip()
        del self._buffer[: end + 1]
        if line:
            self._count_small(len(line))
            self._read_line(line)
        return True

    def _read_line(self, line: bytes) -> None:
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            raise _malformed(f"a line is no JSON: {line[:80]!r}") from None
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, dict):
            raise _malformed(f"a line must be an object with 'key' and 'value', got {line[:80]!r}")
        match item.get("key"):
            case "header":
                self._read_header(value)
            case "file":
                self._read_file(value)
            case "lfsFile":
                self._read_large(value)
            case "deletedFile" | "deletedFolder" as key:
                is_folder = key == "deletedFolder"
                path = value.get("path")
                if is_folder and isinstance(path, str):
                    path = path.rstrip("/")
                self._request.operations.append(Delete(check_file_path(path), is_folder))
            case key:
                known = "header, file, lfsFile, deletedFile, deletedFolder"
                raise _malformed(f"key {key!r} is not one of {known}")

    def _read_header(self, value: dict[str, Any]) -> None:
        summary, description, parent = (value.get(key) for key in ("summary", "description", "parentCommit"))
        if not isinstance(summary, str) or not summary.strip():
            raise _malformed(f"the header's summary must be a text that is not empty, got {summary!r}")
        message = f"{summary}\n\n{description}" if isinstance(description, str) and description else summary
        if not is_unicode(message):
            raise _malformed("the header's summary and description must be valid Unicode")
        self._request.message = message
        self._request.parent = parent if isinstance(parent, str) and parent else None
        self._has_header = True

    def _read_file(self, value: dict[str, Any]) -> None:
        content, self._content = self._content, None
        if content is None:
            content = InlineContent(self._large_files)
            text = value.get("content")
            if not isinstance(text, str) or not text.isascii():
                raise _malformed("a file's content must be base64 text")
            content.write_base64(text.encode())
            content.complete_base64()
        # Registered before anything is checked, so that `close` finds it.
        operation = AddFile("", content)
        self._request.operations.append(operation)
        operation.path = check_file_path(value.get("path"))
        if value.get("encoding", "base64") != "base64":
            raise _malformed(f"{operation.path}: encoding must be 'base64', got {value.get('encoding')!r}")

    def _read_large(self, value: dict[str, Any]) -> None:
        path, sha256, size = check_file_path(value.get("path")), value.get("oid"), value.get("size")
        if not isinstance(sha256, str) or not is_sha256(sha256) or value.get("algo", "sha256") != "sha256":
            raise _malformed(f"{path}: a large file needs its SHA-256 as oid, got {sha256!r}")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise _malformed(f"{path}: a large file's size must be a number of bytes, got {size!r}")
        self._request.operations.append(AddLarge(path, sha256, size))

    def _count_small(self, size: int) -> None:
        self._small += size
        if self._small > MAX_SMALL:
            raise RefusalError(
                413, f"the small files of the commit exceed {MAX_SMALL} bytes: send them in several commits"
            )


def _malformed(what: str) -> RefusalError:
    return RefusalError(400, f"the commit cannot be read: {what}")
