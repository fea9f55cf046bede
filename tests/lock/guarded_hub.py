"""A Hub that answers nobody without its token, not even a reader: as for a private repository."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config, Server

from sparsezoo_hub.hub.local_hub.server import create_app


class _Guard:
    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token
        self.served: list[str] = []
        self.refused: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (b"authorization", f"Bearer {self.token}".encode()) in scope["headers"]:
            self.served.append(scope["path"])
            await self.app(scope, receive, send)
            return
        self.refused.append(scope["path"])
        headers = [(b"x-error-code", b"RepoNotFound"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        body = json.dumps({"error": "Repository not found"}).encode()
        await send({"type": "http.response.body", "body": body})


@contextmanager
def guarded_hub(root: Path, token: str) -> Iterator[tuple[str, _Guard]]:
    """Yield the address, and what was served and refused there, of the Hub that lies under ``root``."""
    guard = _Guard(create_app(root, token=token), token)
    config = Config(guard, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    started = threading.Event()
    server = _Server(config, started)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(30)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", guard
    finally:
        server.should_exit = True
        thread.join()


class _Server(Server):
    def __init__(self, config: Config, event: threading.Event) -> None:
        super().__init__(config)
        self.event = event

    async def startup(self, sockets: object = None) -> None:
        await super().startup(sockets)
        self.event.set()
