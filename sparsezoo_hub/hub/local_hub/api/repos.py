"""Creating and deleting repositories."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.request_parts import read_json, require_write
from sparsezoo_hub.hub.local_hub.names import OWN_NAME, check_repo_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError


async def create_repo(request: Request) -> JSONResponse:
    """Create a repository."""
    hub = require_write(request)
    body = await read_json(request)
    repo_id = _repo_id(body)
    if body.get("private") is True or body.get("visibility") not in {None, "public"}:
        raise RefusalError(400, f"{repo_id}: this Hub is open to all who reach it: leave private=True out")
    answer = {"url": f"{request.base_url}{repo_id}", "name": repo_id, "id": repo_id}
    try:
        await run_in_threadpool(hub.repositories.create, repo_id)
    except RefusalError as refusal:
        # With exist_ok the client takes the address from the refusal.
        refusal.details.update(answer)
        raise
    return JSONResponse(answer)


async def delete_repo(request: Request) -> JSONResponse:
    """Delete a repository."""
    hub = require_write(request)
    repo_id = _repo_id(await read_json(request))
    await run_in_threadpool(hub.repositories.delete, repo_id)
    return JSONResponse({"id": repo_id})


def _repo_id(body: dict[str, Any]) -> str:
    kind = body.get("type") or "model"
    if kind != "model":
        raise RefusalError(400, f"type={kind!r}: this Hub holds model repositories only, leave repo_type out")
    owner, name = body.get("organization") or OWN_NAME, body.get("name")
    if not isinstance(owner, str) or not isinstance(name, str):
        raise RefusalError(400, f"a repository needs an owner and a name, got {owner!r} and {name!r}")
    return check_repo_id(owner, name)


ROUTES = [
    Route("/api/repos/create", create_repo, methods=["POST"]),
    Route("/api/repos/delete", delete_repo, methods=["DELETE"]),
]
