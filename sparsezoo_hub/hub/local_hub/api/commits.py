"""Making commits and listing them."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import account_of, held_files, read_repo, write_repo
from sparsezoo_hub.hub.local_hub.api.proposals import committed_repo, is_theirs
from sparsezoo_hub.hub.local_hub.api.request_parts import drain, is_set, number_of, read_json, segment_of
from sparsezoo_hub.hub.local_hub.commit_stream import AddFile, CommitRequest, CommitStream
from sparsezoo_hub.hub.local_hub.commits import list_commits, make_commit, squash_history
from sparsezoo_hub.hub.local_hub.file_sizes import check_file_size
from sparsezoo_hub.hub.local_hub.names import is_unicode
from sparsezoo_hub.hub.local_hub.proposals import propose_commit
from sparsezoo_hub.hub.local_hub.pull_requests import check_proposer, load_discussion
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.revisions import find_commit, pull_request_number

MOST_COMMITS = 1000
# Blocks of the network are small; decoding and writing happen in a worker thread, this many bytes at once.
FEED_SIZE = 1 << 20


async def create_commit(request: Request) -> JSONResponse:
    """Commit what the body says to the branch or pull request that the address names, or to a new one."""
    revision = segment_of(request, "revision")
    hub, repo_id = committed_repo(request, revision)
    author, num = account_of(request).name, pull_request_number(revision)
    with hub.repositories.opened(repo_id):
        stream = CommitStream(hub.large_files)

    def commit(asked: CommitRequest) -> tuple[str, int | None]:
        for operation in asked.operations:
            if isinstance(operation, AddFile):
                check_file_size(operation.path, operation.content.size, hub.largest_file)
        with hub.repositories.locked(repo_id) as repo:
            if is_set(request, "create_pr"):
                discussion, made = propose_commit(
                    repo, repo_id, revision, asked, held_files(request, repo), author
                )
                return made.id.decode(), discussion.num
            if num is not None:
                discussion = load_discussion(repo, repo_id, num)
                check_proposer(discussion, is_proposer=is_theirs(request, repo_id, discussion))
            made = make_commit(repo, repo_id, revision, asked, held_files(request, repo), author)
            return made.id.decode(), None

    try:
        oid, opened = await run_in_threadpool(commit, await _receive(request, stream))
    finally:
        stream.close()
    answer = {"success": True, "commitUrl": f"{request.base_url}{repo_id}/commit/{oid}", "commitOid": oid}
    if opened is not None:
        answer["pullRequestUrl"] = f"{request.base_url}{repo_id}/discussions/{opened}"
    return JSONResponse(answer)


def commit_history(request: Request) -> JSONResponse:
    """List the commits up to a revision, the newest first, a page at a time."""
    hub, repo_id = read_repo(request)
    revision = segment_of(request, "revision")
    first = number_of(request, "cursor", 0, 1 << 40)
    count = max(1, number_of(request, "limit", MOST_COMMITS, MOST_COMMITS))
    with hub.repositories.opened(repo_id) as repo:
        start = find_commit(repo, repo_id, revision)
        commits, more = list_commits(repo, start, first, count)
    headers = {}
    if more:
        # The next page goes on from this very commit, even if the branch moves on meanwhile.
        address = request.url.replace(path=f"/api/models/{repo_id}/commits/{start.id.decode()}")
        headers["Link"] = f'<{address.include_query_params(cursor=first + count)}>; rel="next"'
    return JSONResponse(commits, headers=headers)


async def super_squash(request: Request) -> JSONResponse:
    """Make a branch one commit without a past."""
    hub, repo_id = write_repo(request)
    branch, author = segment_of(request, "branch"), account_of(request).name
    message = (await read_json(request)).get("message") or f"Super-squash branch '{branch}'"
    if not isinstance(message, str) or not message.strip() or not is_unicode(message):
        raise RefusalError(400, f"message must be a text that is not empty, got {message!r:.80}")

    def squash() -> str:
        with hub.repositories.locked(repo_id) as repo:
            return squash_history(repo, repo_id, branch, message, author).id.decode()

    return JSONResponse({"success": True, "commitOid": await run_in_threadpool(squash)})


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
    Route("/api/models/{owner}/{name}/super-squash/{branch}", super_squash, methods=["POST"]),
]
