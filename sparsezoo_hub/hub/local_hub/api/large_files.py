"""Uploading large files by the LFS protocol, whole or in parts, and telling git where they are."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import contribute_repo, held_files
from sparsezoo_hub.hub.local_hub.api.large_downloads import answer_downloads
from sparsezoo_hub.hub.local_hub.api.request_parts import drain, hub_of, read_json, segment_of
from sparsezoo_hub.hub.local_hub.api.upload_addresses import check_address, receive, upload_address
from sparsezoo_hub.hub.local_hub.file_sizes import check_file_size
from sparsezoo_hub.hub.local_hub.held_files import hold_file
from sparsezoo_hub.hub.local_hub.hub_state import HubState
from sparsezoo_hub.hub.local_hub.large_files import ArrivingFile
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, is_sha256
from sparsezoo_hub.hub.local_hub.partial_files import PART_SIZE, etag_of, num_parts
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

MOST_OBJECTS = 1000
_MOST_DIGITS = 9


async def batch(request: Request) -> JSONResponse:
    """Tell, for every large file, where to upload it, nothing for those that are here; or where it is."""
    body = await read_json(request)
    objects, operation = body.get("objects"), body.get("operation")
    if operation != "download":
        hub, repo_id = contribute_repo(request)
    transfers = body.get("transfers") or ["basic"]
    if operation not in ("upload", "download") or not isinstance(transfers, list) or "basic" not in transfers:
        raise RefusalError(400, "this Hub's LFS answers upload and download, by 'basic' or 'multipart'")
    if not isinstance(objects, list) or len(objects) > MOST_OBJECTS:
        raise RefusalError(400, f"objects must be a list of at most {MOST_OBJECTS}, got {objects!r:.80}")
    pointers = [_read_pointer(item) for item in objects]
    if operation == "download":
        return await answer_downloads(request, pointers)
    for pointer in pointers:
        check_file_size(pointer.sha256, pointer.size, hub.largest_file)
    with hub.repositories.opened(repo_id) as repo:
        held = held_files(request, repo)
        missing = {pointer for pointer in pointers if held.size(pointer.sha256) is None}
    in_parts = "multipart" in transfers
    actions = {
        pointer: _actions(request, hub, repo_id, pointer, in_parts=in_parts and pointer.size > PART_SIZE)
        for pointer in missing
    }
    answers: list[dict[str, Any]] = [
        {"oid": pointer.sha256, "size": pointer.size}
        | ({"actions": actions[pointer]} if pointer in actions else {})
        for pointer in pointers
    ]
    transfer = "multipart" if any("header" in action["upload"] for action in actions.values()) else "basic"
    return JSONResponse({"transfer": transfer, "objects": answers, "hash_algo": "sha256"})


async def upload(request: Request) -> JSONResponse:
    """Receive one large file, at an address that `batch` has given out; the client sends no token here."""
    hub = hub_of(request)
    repo_id, expected, _ = await check_address(request)

    def keep(arriving: ArrivingFile) -> None:
        arriving.keep(expected)
        with hub.repositories.locked(repo_id) as repo:
            hold_file(repo, expected)

    with hub.large_files.arriving() as arriving:
        await receive(request, arriving.write, expected.size, expected.sha256)
        await run_in_threadpool(keep, arriving)
    return JSONResponse({"oid": expected.sha256, "size": expected.size})


async def upload_part(request: Request) -> Response:
    """Receive a part of a large file."""
    hub, number = hub_of(request), segment_of(request, "number")
    _, expected, upload_id = await check_address(request)
    if not number.isascii() or not number.isdecimal() or len(number) > _MOST_DIGITS:
        await drain(request)
        raise RefusalError(404, f"{number!r} is no part's number: it must be a whole number from 1 on")
    part = await run_in_threadpool(hub.partial_files.receive, upload_id, expected, int(number))
    with part:
        await receive(request, part.write, part.length, f"part {number} of {expected.sha256}")
        etag = await run_in_threadpool(part.finish)
    return Response(headers={"ETag": etag})


async def complete(request: Request) -> JSONResponse:
    """Keep a large file, all parts of which were received."""
    hub = hub_of(request)
    repo_id, expected, upload_id = await check_address(request)
    body = await read_json(request)
    wanted = [
        {"partNumber": number, "etag": etag_of(upload_id, number)}
        for number in range(1, num_parts(expected.size) + 1)
    ]
    if body.get("oid") != expected.sha256 or body.get("parts") != wanted:
        raise RefusalError(
            400, f"{expected.sha256} has {len(wanted)} parts: give them all, in order, with the ETag of each"
        )

    def keep() -> None:
        hub.partial_files.complete(upload_id, expected)
        with hub.repositories.locked(repo_id) as repo:
            hold_file(repo, expected)

    await run_in_threadpool(keep)
    return JSONResponse({"oid": expected.sha256, "size": expected.size})


async def verify(request: Request) -> JSONResponse:
    """Confirm that a large file is here."""
    hub, repo_id = contribute_repo(request)
    pointer = _read_pointer(await read_json(request))
    with hub.repositories.opened(repo_id) as repo:
        stored = held_files(request, repo).size(pointer.sha256)
    if stored != pointer.size:
        got = "nothing" if stored is None else f"{stored} bytes"
        raise RefusalError(
            404, f"{pointer.sha256} must be here with {pointer.size} bytes, got {got}: upload it again"
        )
    return JSONResponse({"oid": pointer.sha256, "size": pointer.size})


def _read_pointer(item: Any) -> LfsPointer:
    oid, size = (item.get("oid"), item.get("size")) if isinstance(item, dict) else (None, None)
    if not isinstance(oid, str) or not is_sha256(oid):
        raise RefusalError(400, f"oid must be a SHA-256 in lower-case hexadecimal, got {oid!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RefusalError(400, f"{oid}: size must be a number of bytes, got {size!r}")
    return LfsPointer(oid, size)


def _actions(
    request: Request, hub: HubState, repo_id: str, pointer: LfsPointer, *, in_parts: bool
) -> dict[str, Any]:
    verify_address = f"{request.base_url}api/models/{repo_id}/verify-large-file"
    upload: dict[str, Any] = {"href": upload_address(request, repo_id, pointer)}
    if in_parts:
        upload_id = hub.partial_files.start()

        def address(part: str) -> str:
            return upload_address(request, repo_id, pointer, upload_id, part)

        numbers = range(1, num_parts(pointer.size) + 1)
        parts = {str(number): address(f"/parts/{number}") for number in numbers}
        upload = {"href": address("/parts"), "header": {"chunk_size": str(PART_SIZE), **parts}}
    return {"upload": upload, "verify": {"href": verify_address}}


ROUTES = [
    Route("/{owner}/{name}.git/info/lfs/objects/batch", batch, methods=["POST"]),
    Route("/api/models/{owner}/{name}/verify-large-file", verify, methods=["POST"]),
    Route("/api/large-files/{sha256}", upload, methods=["PUT"]),
    Route("/api/large-files/{sha256}/parts", complete, methods=["POST"]),
    Route("/api/large-files/{sha256}/parts/{number}", upload_part, methods=["PUT"]),
]
