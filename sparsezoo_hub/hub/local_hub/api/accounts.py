"""Who the token's owner is."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.request_parts import require_write
from sparsezoo_hub.hub.local_hub.names import OWN_NAME


def whoami(request: Request) -> JSONResponse:
    """Tell the owner of the write token."""
    require_write(request)
    access = {"type": "access_token", "accessToken": {"displayName": "write token", "role": "write"}}
    return JSONResponse({"type": "user", "id": OWN_NAME, "name": OWN_NAME, "orgs": [], "auth": access})


ROUTES = [Route("/api/whoami-v2", whoami)]
