"""A way to a Hub that counts what goes through it, and can break in the middle, for good."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sparsezoo_hub.hub.local_hub.process import HubAddress


def place(endpoint: str) -> tuple[str, int]:
    host, port = endpoint.removeprefix("http://").split(":")
    return host, int(port)


@contextmanager
def cutting_proxy(hub: HubAddress, num_bytes: int) -> Iterator[str]:
    """Yield another address of a Hub, which is cut once clients have sent ``num_bytes`` through it."""
    with _running(_Proxy(place(hub.url), num_bytes)) as address:
        yield address


@contextmanager
def counting_proxy(hub: HubAddress) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield another address of a Hub, and how many bytes clients have sent it so far."""
    proxy = _Proxy(place(hub.url))
    with _running(proxy) as address:
        yield address, lambda: proxy.sent


@contextmanager
def counting_answers(hub: HubAddress) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield another address of a Hub, and how many bytes it has answered so far."""
    proxy = _Proxy(place(hub.url))
    with _running(proxy) as address:
        yield address, lambda: proxy.answered


class _Proxy:
    def __init__(self, target: tuple[str, int], most: int | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.target = target
        self.most = most
        self.sent = self.answered = 0
        self.open: list[socket.socket] = []

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                self.open += [client, server]
                threading.Thread(target=self._send, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def cut(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self.open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while content := client.recv(4096):
                self.sent += len(content)
                if self.most is not None and self.sent > self.most:
                    self.cut()
                    return
                server.sendall(content)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while content := server.recv(1 << 16):
                self.answered += len(content)
                client.sendall(content)


@contextmanager
def _running(proxy: _Proxy) -> Iterator[str]:
    thread = threading.Thread(target=proxy.accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.listener.getsockname()[1]}"
    finally:
        proxy.cut()
        thread.join()
