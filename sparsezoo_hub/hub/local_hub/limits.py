"""How much one may ask of a Hub."""

import ipaddress
import math
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sparsezoo_hub.hub.local_hub.api.access import account_of
from sparsezoo_hub.hub.local_hub.file_sizes import LARGEST_FILE
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, answer_refusal

WINDOW_SECONDS = 60
REQUESTS_PER_MINUTE = 10_000
# What one customer of an internet provider gets: all of it is one address here.
IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What a Hub takes from everybody but its administrator.

    Args:
        largest_file: in bytes; this one holds for the administrator too.
        requests_per_minute: of one owner, or of one address without a token.
    """

    largest_file: int = LARGEST_FILE
    requests_per_minute: int = REQUESTS_PER_MINUTE


class RequestCounter:
    """Counts the requests of each caller in windows of a minute, which begin with their first request.

    Args:
        most: how many a window may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: dict[str, tuple[float, int]] = {}
        self._next_sweep = 0.0

    def count(self, caller: str, now: float) -> float | None:
        """Count a request; return None if it is allowed, else after how many seconds the next one is.

        Args:
            caller: who asks.
            now: seconds on a clock that never goes back.
        """
        if now >= self._next_sweep:
            # Callers that stay away are forgotten, so that memory does not grow.
            self._windows = {key: item for key, item in self._windows.items() if now < item[0]}
            self._next_sweep = now + WINDOW_SECONDS
        end, made = self._windows.get(caller, (0.0, 0))
        if now >= end:
            end, made = now + WINDOW_SECONDS, 0
        if made >= self._most:
            return end - now
        self._windows[caller] = end, made + 1
        return None


class RateLimit:
    """Refuses the requests of a caller who makes too many, in the words that the client understands.

    Args:
        app: the application behind.
        most: requests of one caller in a minute.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._counter = RequestCounter(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 429."""
        if scope["type"] == "http":
            request = Request(scope, receive, send)
            wait = self._wait(request)
            if wait is not None:
                response = await answer_refusal(request, _refusal(self._most, math.ceil(wait)))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _wait(self, request: Request) -> float | None:
        account = account_of(request)
        if account.is_administrator:
            return None
        caller = f"owner {account.name}" if account.is_known else f"address {_network(request)}"
        return self._counter.count(caller, time.monotonic())


def _network(request: Request) -> str:
    host = "" if request.client is None else request.client.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((host, IPV6_PREFIX), strict=False))


def _refusal(most: int, wait: int) -> RefusalError:
    # The client reads these and waits, where it tries again by itself.
    headers = {
        "Retry-After": str(wait),
        "RateLimit": f'"api";r=0;t={wait}',
        "RateLimit-Policy": f'"fixed window";"api";q={most};w={WINDOW_SECONDS}',
    }
    return RefusalError(
        429, f"this Hub answers {most} requests in a minute: wait {wait} seconds, then go on", headers=headers
    )
