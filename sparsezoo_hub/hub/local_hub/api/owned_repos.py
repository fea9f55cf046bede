"""What an owner has on this Hub, may do here, and may copy."""

from typing import Any

from dulwich.repo import Repo
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import (
    may_see,
    read_repo,
    require_account,
    require_namespace,
    require_writer,
    write_repo,
)
from sparsezoo_hub.hub.local_hub.api.request_parts import hub_of, read_json, segment_of
from sparsezoo_hub.hub.local_hub.names import check_repo_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH
from sparsezoo_hub.hub.local_hub.revisions import find_commit
from sparsezoo_hub.hub.local_hub.trees import commit_date, describe_entries, list_entries


def list_repos(request: Request) -> JSONResponse:
    """List the repositories of an owner: one's own without a name, and all of them for the administrator."""
    account = require_account(request)
    owner = segment_of(request, "owner") if "owner" in request.path_params else account.name
    everything = account.is_administrator and "owner" not in request.path_params
    repositories = hub_of(request).repositories
    listed = []
    for repo_id in repositories.ids():
        if (everything or repo_id.split("/", maxsplit=1)[0] == owner) and may_see(request, repo_id):
            with repositories.opened(repo_id) as repo:
                described = _describe(repo, repo_id)
            visibility = "private" if repositories.is_private(repo_id) else "public"
            listed.append({**described, "visibility": visibility})
    total = sum(each["storage"] for each in listed)
    for each in listed:
        each["storagePercent"] = each["storage"] / total if total else 0
    return JSONResponse(listed)


def may_read(request: Request) -> JSONResponse:
    """Confirm that whoever asks may see a repository."""
    read_repo(request)
    return JSONResponse({})


def may_write(request: Request) -> JSONResponse:
    """Confirm that whoever asks may change a repository."""
    write_repo(request)
    return JSONResponse({})


async def duplicate(request: Request) -> JSONResponse:
    """Copy a repository with its history; the copy of a private one is private unless public is asked for."""
    account = require_writer(request)
    hub, source = read_repo(request)
    body = await read_json(request)
    owner, slash, name = str(body.get("repository")).partition("/")
    if not slash:
        raise RefusalError(
            400, f"repository must be the copy's id, owner/name, got {body.get('repository')!r:.80}"
        )
    target = check_repo_id(owner, name)
    require_namespace(account, target)
    visibility = body.get("visibility")
    if visibility not in (None, "public", "private"):
        raise RefusalError(400, f"visibility must be 'public' or 'private', got {visibility!r:.80}")
    private = hub.repositories.is_private(source) if visibility is None else visibility == "private"
    answer = {"url": f"{request.base_url}{target}", "id": target, "filesCopyPending": False}
    try:
        await run_in_threadpool(hub.repositories.duplicate, source, target, private=private)
    except RefusalError as refusal:
        # With exist_ok the client takes the address from the refusal.
        refusal.details.update(answer)
        raise
    return JSONResponse(answer)


def _describe(repo: Repo, repo_id: str) -> dict[str, Any]:
    commit = find_commit(repo, repo_id, DEFAULT_BRANCH)
    files = [entry for entry in list_entries(repo, commit) or [] if not entry.is_folder]
    # What the default branch holds: other revisions share most of it, and so do other repositories.
    storage = sum(fields["size"] for fields in describe_entries(repo, files))
    return {"id": repo_id, "type": "model", "updatedAt": commit_date(commit), "storage": storage}


ROUTES = [
    Route("/api/settings/repositories", list_repos),
    Route("/api/organizations/{owner}/settings/repositories", list_repos),
    Route("/api/models/{owner}/{name}/auth-check", may_read),
    Route("/api/models/{owner}/{name}/auth-check/write", may_write),
    Route("/api/models/{owner}/{name}/duplicate", duplicate, methods=["POST"]),
]
