"""`git clone` and `git fetch` of a repository, by git's smart HTTP protocol."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sparsezoo_hub.hub.local_hub.api.access import browse_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import drain
from sparsezoo_hub.hub.local_hub.git_transport import (
    FLUSH,
    RequestBody,
    UploadPack,
    packet,
    protocol_version,
    start_upload_pack,
)
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

_SERVICE = "git-upload-pack"
FIRST_WITHOUT_SERVICE = 2
_NO_PUSH = (
    "this Hub takes no git push: use `hf upload REPO FOLDER`, or upload_folder of huggingface_hub, which make"
    " one commit of a folder"
)
# As git's own server says it: what stands at a branch is never to be taken from a cache.
_FRESH = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}


async def references(request: Request) -> Response:
    """List the references to a client that is about to clone or fetch."""
    service = request.query_params.get("service")
    if service == "git-receive-pack":
        return await refuse_push(request)
    if service != _SERVICE:
        return _told(RefusalError(403, f"service={service!r}: this Hub answers {_SERVICE} only; update git"))
    protocol = request.headers.get("git-protocol")
    try:
        running = await start_upload_pack(await _git_folder(request), protocol, None)
    except RefusalError as refusal:
        return _told(refusal)
    # From version 2 on, git leaves the line out that says which service this is.
    names_service = protocol_version(protocol) < FIRST_WITHOUT_SERVICE
    head = packet(f"# service={_SERVICE}\n".encode()) + FLUSH if names_service else b""
    return _UploadPackResponse(running, f"application/x-{_SERVICE}-advertisement", head)


async def send_pack(request: Request) -> Response:
    """Send what a client wants and has not."""
    with tempfile.TemporaryFile() as file:
        try:
            folder = await _git_folder(request)
            body = RequestBody(file, request.headers.get("content-encoding"))
            async for block in request.stream():
                await run_in_threadpool(body.write, block)
            await run_in_threadpool(body.finish)
            running = await start_upload_pack(folder, request.headers.get("git-protocol"), file)
        except RefusalError as refusal:
            await drain(request)
            return _told(refusal)
    return _UploadPackResponse(running, f"application/x-{_SERVICE}-result")


async def refuse_push(request: Request) -> Response:
    """Say what to use instead of `git push`."""
    await drain(request)
    return _told(RefusalError(403, _NO_PUSH))


class _UploadPackResponse(StreamingResponse):
    """What `git upload-pack` says, sent as it comes; the process ends with it, however it ends."""

    def __init__(self, running: UploadPack, media_type: str, head: bytes = b"") -> None:
        super().__init__(self._pieces(running, head), headers=_FRESH, media_type=media_type)
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._running.close()

    @staticmethod
    async def _pieces(running: UploadPack, head: bytes) -> AsyncIterator[bytes]:
        if head:
            yield head
        async for piece in running.pieces():
            yield piece


async def _git_folder(request: Request) -> Path:
    def find() -> Path:
        hub, repo_id = browse_repo(request)
        with hub.repositories.opened(repo_id) as repo:
            return Path(repo.path)

    return await run_in_threadpool(find)


def _told(refusal: RefusalError) -> PlainTextResponse:
    # git shows the sentence to its user only as plain text.
    return PlainTextResponse(f"{refusal.message}\n", refusal.status, {**_FRESH, **refusal.headers})


ROUTES = [
    route
    for address in ("/{owner}/{name}.git", "/{owner}/{name}")
    for route in (
        Route(f"{address}/info/refs", references),
        Route(f"{address}/{_SERVICE}", send_pack, methods=["POST"]),
        Route(f"{address}/git-receive-pack", refuse_push, methods=["POST"]),
    )
]
