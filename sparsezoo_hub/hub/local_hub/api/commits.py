"""Making commits and listing them."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.request_parts import (
    drain,
    hub_of,
    number_of,
    repo_id_of,
    require_write,
    segment_of,
)
from sparsezoo_hub.hub.local_hub.commit_stream import CommitRequest, CommitStream
from sparsezoo_hub.hub.local_hub.commits import list_commits, make_commit
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.revisions import find_commit

MOST_COMMITS = 1000
# Blocks of the network are small; decoding and writing happen in a worker thread, this many bytes at once.
FEED_SIZE = 1 << 20


async def create_commit(request: Request) -> JSONResponse:
    """Commit what the body says to the branch that the address names."""
    hub, repo_id, revision = require_write(request), repo_id_of(request), segment_of(request, "revision")
    if "create_pr" in request.query_params:
        raise RefusalError(
            400, "create_pr: this Hub has no pull requests; commit to a branch made with create_branch"
        )
    with hub.repositories.opened(repo_id):
        stream = CommitStream(hub.large_files)

    def commit(asked: CommitRequest) -> str:
        with hub.repositories.locked(repo_id) as repo:
            return make_commit(repo, repo_id, revision, asked, hub.large_files).id.decode()

    try:
        oid = await run_in_threadpool(commit, await _receive(request, stream))
    finally:
        stream.close()
    url = f"{request.base_url}{repo_id}/commit/{oid}"
    return JSONResponse({"success": True, "commitUrl": url, "commitOid": oid})


def commit_history(request: Request) -> JSONResponse:
    """List the commits up to a revision, the newest first, a page at a time."""
    repo_id, revision = repo_id_of(request), segment_of(request, "revision")
    first = number_of(request, "cursor", 0, 1 << 40)
    count = max(1, number_of(request, "limit", MOST_COMMITS, MOST_COMMITS))
    with hub_of(request).repositories.opened(repo_id) as repo:
        start = find_commit(repo, repo_id, revision)
        commits, more = list_commits(repo, start, first, count)
    headers = {}
    if more:
        # The next page goes on from this very commit, even if the branch moves on meanwhile.
        address = request.url.replace(path=f"/api/models/{repo_id}/commits/{start.id.decode()}")
        headers["Link"] = f'<{address.include_query_params(cursor=first + count)}>; rel="next"'
    return JSONResponse(commits, headers=headers)


async def _receive(request: Request, stream: CommitStream) -> CommitRequest:
    waiting = bytearray()
    try:
        async for block in request.stream():
            waiting += block
            if len(waiting) >= FEED_SIZE:
                await run_in_threadpool(stream.feed, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(stream.feed, bytes(waiting))
        return await run_in_threadpool(stream.finish)
    except RefusalError:
        await drain(request)
        raise


ROUTES = [
    Route("/api/models/{owner}/{name}/commit/{revision}", create_commit, methods=["POST"]),
    Route("/api/models/{owner}/{name}/commits/{revision}", commit_history),
]
