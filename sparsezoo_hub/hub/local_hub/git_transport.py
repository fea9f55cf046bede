"""What git itself does for a clone: its own `upload-pack`, one process per request."""

import asyncio
import os
import re
import shutil
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from sparsezoo_hub.hub.local_hub.git_command import VARIABLES
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

READ_SIZE = 1 << 16
# What a client has and wants: 50 bytes for each commit it names.
MAX_REQUEST = 16 << 20
FLUSH = b"0000"

_PROTOCOL = re.compile(r"version=([0-2])(:[a-z0-9=:-]{0,100})?")
# Clones without all contents are allowed, and none takes more than one core. In a container the Hub's folder
# often belongs to another user than the server runs as, which git would refuse.
_SETTINGS = {"uploadpack.allowFilter": "true", "pack.threads": "1", "safe.directory": "*"}


class UploadPack:
    """A running `git upload-pack`; it only reads the repository.

    Args:
        process: with its standard output to read from.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._first = b""

    async def has_begun(self) -> bool:
        """Whether it says anything, or ends in peace without a word."""
        self._first = await self._read()
        return self._first != b"" or await self._process.wait() == 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what it says, in pieces of at most `READ_SIZE` bytes; `has_begun` was asked before."""
        yield self._first
        while piece := await self._read():
            yield piece

    async def close(self) -> None:
        """End it, if it has not ended by itself, and wait until it is gone."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it may end between the question and the signal
                self._process.kill()
        await self._process.wait()

    async def _read(self) -> bytes:
        output = self._process.stdout
        return b"" if output is None else await output.read(READ_SIZE)


async def start_upload_pack(git_folder: Path, protocol: str | None, asked: IO[bytes] | None) -> UploadPack:
    """Start `git upload-pack` on a repository.

    Args:
        git_folder: the bare repository.
        protocol: what the client sent as `Git-Protocol`; anything that is none means version 0.
        asked: the client's request, from its beginning; None to list the references first.

    Raises:
        RefusalError: 501, if the server has no git; 400 or 500, if git refuses the request or repository.
    """
    git = shutil.which("git")
    if git is None:
        raise RefusalError(501, "this Hub's computer has no git: install it there, or use snapshot_download")
    settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
    advertise = [] if asked is not None else ["--http-backend-info-refs"]
    variables = {"PATH": os.environ.get("PATH", os.defpath), **VARIABLES}
    if protocol_version(protocol):
        variables["GIT_PROTOCOL"] = protocol or ""
    process = await asyncio.create_subprocess_exec(
        *(
            git,
            *settings,
            "upload-pack",
            "--stateless-rpc",
            "--strict",
            *advertise,
            os.fspath(git_folder.absolute()),
        ),
        stdin=asyncio.subprocess.DEVNULL if asked is None else asked,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=variables,
        limit=READ_SIZE,
    )
    running = UploadPack(process)
    begun = False
    try:
        begun = await running.has_begun()
    finally:
        if not begun:
            await running.close()
    if not begun and asked is None:
        raise RefusalError(500, "git cannot read this repository: its keeper should run 'serve fsck'")
    if not begun:
        raise RefusalError(400, "git does not understand this request, or cannot read this repository")
    return running


def protocol_version(header: str | None) -> int:
    """Return the version that a `Git-Protocol` header asks for, 0 without one."""
    match = _PROTOCOL.fullmatch(header or "")
    return int(match[1]) if match else 0


def packet(line: bytes) -> bytes:
    """Return `line` as git sends it: after its length in four hexadecimal digits."""
    return b"%04x" % (len(line) + 4) + line


class RequestBody:
    """Writes a client's request to a file, unpacked if the client packed it.

    Args:
        file: where it goes; its position is at its beginning again after `finish`.
        encoding: the `Content-Encoding` header.

    Raises:
        RefusalError: 415, for another encoding than gzip.
    """

    def __init__(self, file: IO[bytes], encoding: str | None) -> None:
        if (encoding or "identity").lower() not in {"identity", "gzip", "x-gzip"}:
            raise RefusalError(415, f"Content-Encoding {encoding!r}: send the request plain, or by gzip")
        packed = (encoding or "identity").lower() != "identity"
        self._file = file
        self._size = 0
        self._unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if packed else None

    def write(self, block: bytes) -> None:
        """Append `block`.

        Raises:
            RefusalError: 413, if there is too much of it; 400, if it is not gzip.
        """
        for piece in self._unpacked(block):
            self._size += len(piece)
            if self._size > MAX_REQUEST:
                raise RefusalError(413, f"the request is longer than {MAX_REQUEST} bytes: clone anew instead")
            self._file.write(piece)

    def finish(self) -> None:
        """Go back to the beginning.

        Raises:
            RefusalError: 400, if something is missing.
        """
        if self._unpacker is not None and not self._unpacker.eof:
            raise RefusalError(400, "the request is cut off: its gzip has no end")
        self._file.seek(0)

    def _unpacked(self, block: bytes) -> Iterator[bytes]:
        if self._unpacker is None:
            yield block
            return
        try:
            # A page of gzip can stand for gigabytes: never more than a piece of it at once.
            while block and not self._unpacker.eof:
                yield self._unpacker.decompress(block, READ_SIZE)
                block = self._unpacker.unconsumed_tail
        except zlib.error:
            raise RefusalError(400, "the request says that it is gzip, and is not") from None
