"""Creating, deleting and listing branches and tags."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub import revisions
from sparsezoo_hub.hub.local_hub.api.access import read_repo, write_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import is_set, read_json, segment_of
from sparsezoo_hub.hub.local_hub.names import is_unicode
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH


def list_refs(request: Request) -> JSONResponse:
    """List the branches and tags, and the pull requests if they are asked for."""
    hub, repo_id = read_repo(request)
    with hub.repositories.opened(repo_id) as repo:
        listed = revisions.list_references(repo, pull_requests=is_set(request, "include_prs"))
    return JSONResponse(listed)


async def create_branch(request: Request) -> JSONResponse:
    """Create a branch."""
    hub, repo_id = write_repo(request)
    name = segment_of(request, "branch")
    start = (await read_json(request)).get("startingPoint") or DEFAULT_BRANCH
    if not isinstance(start, str):
        raise RefusalError(400, f"startingPoint must name a revision, got {start!r}")

    def create() -> None:
        with hub.repositories.locked(repo_id) as repo:
            revisions.create_branch(repo, name, revisions.find_commit(repo, repo_id, start))

    await run_in_threadpool(create)
    return JSONResponse({"branch": name})


def delete_branch(request: Request) -> JSONResponse:
    """Delete a branch."""
    hub, repo_id = write_repo(request)
    name = segment_of(request, "branch")
    with hub.repositories.locked(repo_id) as repo:
        revisions.delete_branch(repo, repo_id, name)
    return JSONResponse({"branch": name})


async def create_tag(request: Request) -> JSONResponse:
    """Create a tag at the revision that the address names."""
    hub, repo_id = write_repo(request)
    revision = segment_of(request, "revision")
    body = await read_json(request)
    name, message = body.get("tag"), body.get("message")
    if not isinstance(name, str) or not (message is None or isinstance(message, str)):
        raise RefusalError(400, f"tag and message must be texts, got {name!r} and {message!r}")
    if message is not None and not is_unicode(message):
        raise RefusalError(400, f"the message of tag {name!r} is not valid Unicode")

    def create() -> None:
        with hub.repositories.locked(repo_id) as repo:
            revisions.create_tag(repo, name, revisions.find_commit(repo, repo_id, revision), message)

    await run_in_threadpool(create)
    return JSONResponse({"tag": name})


def delete_tag(request: Request) -> JSONResponse:
    """Delete a tag."""
    hub, repo_id = write_repo(request)
    name = segment_of(request, "revision")
    with hub.repositories.locked(repo_id) as repo:
        revisions.delete_tag(repo, repo_id, name)
    return JSONResponse({"tag": name})


ROUTES = [
    Route("/api/models/{owner}/{name}/refs", list_refs),
    Route("/api/models/{owner}/{name}/branch/{branch}", create_branch, methods=["POST"]),
    Route("/api/models/{owner}/{name}/branch/{branch}", delete_branch, methods=["DELETE"]),
    Route("/api/models/{owner}/{name}/tag/{revision}", create_tag, methods=["POST"]),
    Route("/api/models/{owner}/{name}/tag/{revision}", delete_tag, methods=["DELETE"]),
]
