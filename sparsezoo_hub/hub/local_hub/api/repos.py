"""Creating, deleting and moving repositories, and who may see them."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.accounts import Account
from sparsezoo_hub.hub.local_hub.api.access import (
    find_repo,
    require_account,
    require_namespace,
    require_writer,
    write_repo,
)
from sparsezoo_hub.hub.local_hub.api.request_parts import hub_of, read_json
from sparsezoo_hub.hub.local_hub.names import check_repo_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError


async def create_repo(request: Request) -> JSONResponse:
    """Create a repository."""
    account = require_writer(request)
    body = await read_json(request)
    repo_id = _repo_id(body, account)
    # Before it is looked for: whether somebody else has it is not told.
    require_namespace(account, repo_id)
    private = _asked_private(body)
    answer = {"url": f"{request.base_url}{repo_id}", "name": repo_id, "id": repo_id}
    try:
        await run_in_threadpool(hub_of(request).repositories.create, repo_id, private=private is True)
    except RefusalError as refusal:
        # With exist_ok the client takes the address from the refusal.
        refusal.details.update(answer)
        raise
    return JSONResponse(answer)


async def delete_repo(request: Request) -> JSONResponse:
    """Delete a repository."""
    account = require_account(request)
    body = await read_json(request)
    repo_id = _repo_id(body, account)
    hub = find_repo(request, repo_id)
    require_namespace(require_writer(request), repo_id)
    await run_in_threadpool(hub.repositories.delete, repo_id)
    return JSONResponse({"id": repo_id})


async def move_repo(request: Request) -> JSONResponse:
    """Give a repository another id; its old one leads to the new one from then on."""
    account = require_account(request)
    body = await read_json(request)
    _check_type(body)
    source, target = _whole_id(body, "fromRepo"), _whole_id(body, "toRepo")
    hub = find_repo(request, source)
    require_writer(request)
    require_namespace(account, source)
    require_namespace(account, target)
    await run_in_threadpool(hub.repositories.move, source, target)
    return JSONResponse({"url": f"{request.base_url}{target}", "id": target})


async def update_settings(request: Request) -> JSONResponse:
    """Make a repository private or public."""
    hub, repo_id = write_repo(request)
    body = await read_json(request)
    if body.get("gated"):
        raise RefusalError(
            400, f"{repo_id}: this Hub has no gated repositories: use private=True, and tokens for readers"
        )
    private = _asked_private(body)
    if private is not None:
        await run_in_threadpool(hub.repositories.set_private, repo_id, private=private)
    return JSONResponse({"private": hub.repositories.is_private(repo_id), "gated": False})


def _asked_private(body: dict[str, Any]) -> bool | None:
    visibility = body.get("visibility")
    if visibility is None and isinstance(body.get("private"), bool):
        visibility = "private" if body["private"] else "public"
    if visibility not in (None, "private", "public"):
        raise RefusalError(400, f"visibility must be 'public' or 'private', got {visibility!r:.80}")
    return None if visibility is None else visibility == "private"


def _repo_id(body: dict[str, Any], account: Account) -> str:
    _check_type(body)
    owner, name = body.get("organization") or account.name, body.get("name")
    if not isinstance(owner, str) or not isinstance(name, str):
        raise RefusalError(400, f"a repository needs an owner and a name, got {owner!r} and {name!r}")
    return check_repo_id(owner, name)


def _whole_id(body: dict[str, Any], field: str) -> str:
    text = body.get(field)
    owner, slash, name = text.partition("/") if isinstance(text, str) else ("", "", "")
    if not slash:
        raise RefusalError(400, f"{field} must be a repository's id, owner/name, got {text!r:.80}")
    return check_repo_id(owner, name)


def _check_type(body: dict[str, Any]) -> None:
    kind = body.get("type") or "model"
    if kind != "model":
        raise RefusalError(
            400, f"type={kind!r:.80}: this Hub holds model repositories only, leave repo_type out"
        )


ROUTES = [
    Route("/api/repos/create", create_repo, methods=["POST"]),
    Route("/api/repos/delete", delete_repo, methods=["DELETE"]),
    Route("/api/repos/move", move_repo, methods=["POST"]),
    Route("/api/models/{owner}/{name}/settings", update_settings, methods=["PUT"]),
]
