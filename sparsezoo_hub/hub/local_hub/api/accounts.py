"""Who the token's owner is."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import require_account


def whoami(request: Request) -> JSONResponse:
    """Tell whose token it is, and its scope."""
    account = require_account(request)
    scope = "write" if account.can_write else "read"
    access = {"type": "access_token", "accessToken": {"displayName": f"{scope} token", "role": scope}}
    return JSONResponse(
        {"type": "user", "id": account.name, "name": account.name, "orgs": [], "auth": access}
    )


ROUTES = [Route("/api/whoami-v2", whoami)]
