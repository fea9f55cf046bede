"""Uploading large files, by the LFS protocol with its basic transfer."""

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.request_parts import (
    drain,
    hub_of,
    read_json,
    repo_id_of,
    require_write,
    segment_of,
)
from sparsezoo_hub.hub.local_hub.large_files import ArrivingFile
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, is_sha256
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

MOST_OBJECTS = 1000
UPLOAD_SECONDS = 24 * 60 * 60
WRITE_SIZE = 1 << 20


async def batch(request: Request) -> JSONResponse:
    """Tell, for every large file, where to upload it; nothing for those that are here."""
    hub, repo_id = require_write(request), repo_id_of(request)
    body = await read_json(request)
    objects = body.get("objects")
    transfers = body.get("transfers") or ["basic"]
    if body.get("operation") != "upload" or not isinstance(transfers, list) or "basic" not in transfers:
        raise RefusalError(400, "this Hub's LFS answers uploads by 'basic' transfer; download with resolve/")
    if not isinstance(objects, list) or len(objects) > MOST_OBJECTS:
        raise RefusalError(400, f"objects must be a list of at most {MOST_OBJECTS}, got {objects!r:.80}")
    with hub.repositories.opened(repo_id):
        pointers = [_read_pointer(item) for item in objects]
    answers: list[dict[str, Any]] = []
    for pointer in pointers:
        answer: dict[str, Any] = {"oid": pointer.sha256, "size": pointer.size}
        if hub.large_files.size(pointer.sha256) is None:
            verify = f"{request.base_url}api/models/{repo_id}/verify-large-file"
            answer["actions"] = {
                "upload": {"href": _upload_address(request, pointer)},
                "verify": {"href": verify},
            }
        answers.append(answer)
    return JSONResponse({"transfer": "basic", "objects": answers, "hash_algo": "sha256"})


async def upload(request: Request) -> JSONResponse:
    """Receive one large file, at an address that `batch` has given out; the client sends no token here."""
    hub, parameters = hub_of(request), request.query_params
    sha256, size, until = (
        segment_of(request, "sha256"),
        parameters.get("size", ""),
        parameters.get("until", ""),
    )
    signature = _sign(hub.upload_key, sha256, size, until)
    given = parameters.get("signature", "").encode()
    if not hmac.compare_digest(signature.encode(), given) or int(until) < time.time():
        await drain(request)
        raise RefusalError(403, "this upload address is not valid, or not any more: start the upload again")
    expected = LfsPointer(sha256, int(size))
    with hub.large_files.arriving() as arriving:
        await _receive(request, arriving, expected)
        await run_in_threadpool(arriving.keep, expected)
    return JSONResponse({"oid": expected.sha256, "size": expected.size})


async def verify(request: Request) -> JSONResponse:
    """Confirm that a large file is here."""
    hub = require_write(request)
    pointer = _read_pointer(await read_json(request))
    stored = hub.large_files.size(pointer.sha256)
    if stored != pointer.size:
        got = "nothing" if stored is None else f"{stored} bytes"
        raise RefusalError(
            404, f"{pointer.sha256} must be here with {pointer.size} bytes, got {got}: upload it again"
        )
    return JSONResponse({"oid": pointer.sha256, "size": pointer.size})


async def _receive(request: Request, arriving: ArrivingFile, expected: LfsPointer) -> None:
    waiting = bytearray()
    received = 0
    async for block in request.stream():
        received += len(block)
        if received > expected.size:
            await drain(request)
            raise RefusalError(400, f"{expected.sha256} must have {expected.size} bytes, got more")
        waiting += block
        if len(waiting) >= WRITE_SIZE:
            await run_in_threadpool(arriving.write, bytes(waiting))
            waiting.clear()
    await run_in_threadpool(arriving.write, bytes(waiting))


def _read_pointer(item: Any) -> LfsPointer:
    oid, size = (item.get("oid"), item.get("size")) if isinstance(item, dict) else (None, None)
    if not isinstance(oid, str) or not is_sha256(oid):
        raise RefusalError(400, f"oid must be a SHA-256 in lower-case hexadecimal, got {oid!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RefusalError(400, f"{oid}: size must be a number of bytes, got {size!r}")
    return LfsPointer(oid, size)


def _upload_address(request: Request, pointer: LfsPointer) -> str:
    until = str(int(time.time()) + UPLOAD_SECONDS)
    signature = _sign(hub_of(request).upload_key, pointer.sha256, str(pointer.size), until)
    query = urlencode({"size": pointer.size, "until": until, "signature": signature})
    return f"{request.base_url}api/large-files/{pointer.sha256}?{query}"


def _sign(key: bytes, sha256: str, size: str, until: str) -> str:
    return hmac.new(key, f"{sha256} {size} {until}".encode(), hashlib.sha256).hexdigest()


ROUTES = [
    Route("/{owner}/{name}.git/info/lfs/objects/batch", batch, methods=["POST"]),
    Route("/api/models/{owner}/{name}/verify-large-file", verify, methods=["POST"]),
    Route("/api/large-files/{sha256}", upload, methods=["PUT"]),
]
