"""What routes read from a request: names, numbers, the body."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect, Request

from sparsezoo_hub.hub.local_hub.hub_state import HubState
from sparsezoo_hub.hub.local_hub.names import check_repo_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, repository_not_found

MAX_JSON = 8 << 20


def hub_of(request: Request) -> HubState:
    """Return the Hub that a request is for."""
    hub = request.app.state.hub
    if not isinstance(hub, HubState):
        raise TypeError(f"app.state.hub: must be a HubState, got {type(hub).__name__}")
    return hub


def segment_of(request: Request, name: str) -> str:
    """Return a part of the address, decoded.

    Routes match the address as it was sent, so a '/' that was sent as %2F stays inside its part.

    Raises:
        RefusalError: 400, if it is not valid UTF-8.
    """
    try:
        return unquote_to_bytes(request.path_params[name]).decode()
    except UnicodeDecodeError:
        raise RefusalError(400, f"the address {request.url.path!r} is not valid UTF-8") from None


def repo_id_of(request: Request) -> str:
    """Return the id of the repository that the address names.

    Raises:
        RefusalError: 404, if there can be no such repository.
    """
    owner, name = segment_of(request, "owner"), segment_of(request, "name")
    try:
        return check_repo_id(owner, name)
    except RefusalError:
        raise repository_not_found(f"{owner}/{name}") from None


def is_set(request: Request, name: str) -> bool:
    """Whether the query parameter `name` says yes."""
    return request.query_params.get(name, "").lower() in {"1", "true"}


def number_of(request: Request, name: str, default: int, most: int) -> int:
    """Return the query parameter `name` as a number from 0 to `most`.

    Raises:
        RefusalError: 400, if it is none.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal():
        raise RefusalError(400, f"{name}={text!r}: must be a whole number from 0 on")
    return min(int(text), most) if len(text) <= 18 else most  # noqa: PLR2004 - more digits are over any `most`


async def read_body(request: Request, most: int = MAX_JSON) -> bytes:
    """Return the whole body.

    Raises:
        RefusalError: 413, if it is longer than `most` bytes.
    """
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > most:
            await drain(request)
            raise RefusalError(413, f"the request is longer than {most} bytes: send less at once")
    return bytes(body)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body, a JSON object.

    Raises:
        RefusalError: 400, if it is anything else; 413, if it is too long.
    """
    body = await read_body(request)
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusalError(400, "the request's body must be JSON, and is not") from None
    if not isinstance(data, dict):
        raise RefusalError(400, f"the request's body must be a JSON object, got {type(data).__name__}")
    return data


async def drain(request: Request) -> None:
    """Read the rest of the body and forget it: a client that is still sending would not see the answer."""
    # RuntimeError: the body was read to its end already.
    with suppress(RuntimeError, ClientDisconnect):
        async for _ in request.stream():
            pass
