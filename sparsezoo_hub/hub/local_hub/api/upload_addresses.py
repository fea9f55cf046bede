"""Addresses that large files are uploaded to: signed, because the client sends no token there."""

import hmac
import time
from collections.abc import Callable
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from sparsezoo_hub.hub.local_hub.api.request_parts import drain, hub_of, segment_of
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer
from sparsezoo_hub.hub.local_hub.partial_files import SECONDS_TO_ARRIVE
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

WRITE_SIZE = 1 << 20
_SIGNED = ("repo", "size", "until", "upload")


def upload_address(
    request: Request, repo_id: str, pointer: LfsPointer, upload: str = "", part: str = ""
) -> str:
    """Return where to send a large file, or a part of it.

    Args:
        request: the one that asks for it.
        repo_id: the repository that it is for.
        pointer: the file.
        upload: for a file in parts, the id of the upload.
        part: what follows the file's address: "/parts/1", for example.
    """
    promised = {
        "repo": repo_id,
        "size": str(pointer.size),
        "until": str(int(time.time()) + SECONDS_TO_ARRIVE),
        "upload": upload,
    }
    signature = _sign(hub_of(request).upload_key, pointer.sha256, *promised.values())
    query = urlencode({**promised, "signature": signature})
    return f"{request.base_url}api/large-files/{pointer.sha256}{part}?{query}"


async def check_address(request: Request) -> tuple[str, LfsPointer, str]:
    """Return the repository, the file and the id of the upload that an address is for.

    Raises:
        RefusalError: 403, if this Hub has not given it out, or too long ago.
    """
    sha256 = segment_of(request, "sha256")
    repo_id, size, until, upload = (request.query_params.get(name, "") for name in _SIGNED)
    signature = _sign(hub_of(request).upload_key, sha256, repo_id, size, until, upload)
    given = request.query_params.get("signature", "")
    if not hmac.compare_digest(signature.encode(), given.encode()) or int(until) < time.time():
        await drain(request)
        raise RefusalError(403, "this upload address is not valid, or not any more: start the upload again")
    return repo_id, LfsPointer(sha256, int(size)), upload


async def receive(request: Request, write: Callable[[bytes], None], most: int, name: str) -> None:
    """Give the body to `write`, in a worker thread and in blocks of about `WRITE_SIZE` bytes.

    Raises:
        RefusalError: 400, if there are more than `most` bytes; and what `write` raises.
    """
    waiting = bytearray()
    received = 0
    try:
        async for block in request.stream():
            received += len(block)
            if received > most:
                raise RefusalError(400, f"{name} must have {most} bytes, got more: send it again")
            waiting += block
            if len(waiting) >= WRITE_SIZE:
                await run_in_threadpool(write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(write, bytes(waiting))
    except RefusalError:
        await drain(request)
        raise


def _sign(key: bytes, *promised: str) -> str:
    return hmac.digest(key, " ".join(promised).encode(), "sha256").hex()
