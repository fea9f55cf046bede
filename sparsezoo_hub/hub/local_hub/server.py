"""The Hub as a web application, and as a server."""

import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.api import (
    accounts,
    cards,
    commits,
    discussions,
    files,
    git,
    large_files,
    models,
    owned_repos,
    references,
    repos,
    trees,
    uploads,
)
from sparsezoo_hub.hub.local_hub.hub_state import open_hub
from sparsezoo_hub.hub.local_hub.limits import Limits, RateLimit
from sparsezoo_hub.hub.local_hub.refusals import (
    RefusalError,
    answer_full_disk,
    answer_nobody,
    answer_refusal,
    answer_unknown_route,
)
from sparsezoo_hub.hub.local_hub.root_lock import locked_root
from sparsezoo_hub.hub.local_hub.tokens import write_token
from sparsezoo_hub.hub.local_hub.web import routes as pages

HOST = "127.0.0.1"
TRUSTED_PROXIES = "127.0.0.1,::1"
DEFAULT_LIMITS = Limits()
LAST_PORT = 65535
# How long a stop waits for requests that are under way; a commit that is cut off changes nothing.
SECONDS_TO_FINISH = 5
# A client that uses a connection again just when it is closed gets an error: so close them late.
SECONDS_TO_KEEP = 75

ROUTES = [
    *accounts.ROUTES,
    *repos.ROUTES,
    *owned_repos.ROUTES,
    *cards.ROUTES,
    *uploads.ROUTES,
    *large_files.ROUTES,
    *git.ROUTES,
    *commits.ROUTES,
    *discussions.ROUTES,
    *references.ROUTES,
    *trees.ROUTES,
    *models.ROUTES,
    *files.ROUTES,
    *pages.ROUTES,
]


class RawPath:
    """Lets routes match the address as it was sent, so that %2F inside a revision is no separator.

    Args:
        app: the application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with its raw path."""
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)


def create_app(root: Path, *, token: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Starlette:
    """Return the Hub under `root` as an ASGI application.

    Args:
        root: the Hub's folder; created if it is missing. One process at a time may serve it.
        token: the administrator's; the folder's own by default.
        limits: what it takes from one caller.
    """
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(RawPath), Middleware(RateLimit, most=limits.requests_per_minute)],
        exception_handlers={
            RefusalError: answer_refusal,
            ClientDisconnect: answer_nobody,
            OSError: answer_full_disk,
            404: answer_unknown_route,
            405: answer_unknown_route,
        },
    )
    app.router.redirect_slashes = False
    administrator = write_token(root) if token is None else token
    app.state.hub = open_hub(root, administrator, largest_file=limits.largest_file)
    return app


def serve(
    root: Path,
    port: int,
    *,
    token: str,
    host: str = HOST,
    trusted_proxies: str = TRUSTED_PROXIES,
    limits: Limits = DEFAULT_LIMITS,
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve the Hub under `root` until interrupted by SIGINT or SIGTERM.

    Args:
        root: the Hub's folder; created if it is missing.
        port: 0 takes a free one.
        token: the administrator's.
        host: address of this machine to listen on; 127.0.0.1 is reached from this machine only.
        trusted_proxies: addresses and networks, with commas between, whose word on the client's address and
            scheme (X-Forwarded-For, X-Forwarded-Proto) is taken.
        limits: what it takes from one caller.
        on_start: called with the Hub's address once it accepts connections.

    Raises:
        HubError: if the address or port cannot be used, or another server serves `root`.
    """
    with locked_root(root), _listening(host, port) as listener:
        config = uvicorn.Config(
            create_app(root, token=token, limits=limits),
            log_level="warning",
            access_log=False,
            server_header=False,
            forwarded_allow_ips=trusted_proxies,
            lifespan="off",
            timeout_graceful_shutdown=SECONDS_TO_FINISH,
            timeout_keep_alive=SECONDS_TO_KEEP,
        )
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        with _signals_end_quietly():
            _AnnouncingServer(config, url, on_start).run(sockets=[listener])


class _AnnouncingServer(uvicorn.Server):
    """A server that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, url: str, on_start: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._url = url
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the address."""
        await super().startup(sockets)
        if self.started and self._on_start is not None:
            self._on_start(self._url)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    if not 0 <= port <= LAST_PORT:
        raise HubError(f"port {port}: must be from 0 to {LAST_PORT}; 0 takes a free one")
    # The protocol is named because asyncio sends without delay only where it is: else every answer that
    # has a header and a body waits 40 ms for the client's acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        # Lets a Hub start again at once on the port it had; a port that is listened on stays refused.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = "is in use: choose another with --port, or 0 for a free one"
            else:
                what = f"cannot be used ({error.strerror}): choose another with --port, or 0 for a free one"
            raise HubError(f"port {port} on {host} {what}") from None
        yield listener


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    # uvicorn stops on a signal and then raises it again for whoever handled it before: here, nobody.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.signal(kind, lambda *_: None) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
