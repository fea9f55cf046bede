"""A way to a Hub that breaks in the middle: passes on a number of bytes, then hangs up for good."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cutting_proxy(target: tuple[str, int], num_bytes: int) -> Iterator[str]:
    """Yield the address of a proxy that is cut once clients have sent ``num_bytes`` through it."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = _Proxy(listener, target, num_bytes)
    thread = threading.Thread(target=proxy.accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        proxy.cut()
        thread.join()


class _Proxy:
    def __init__(self, listener: socket.socket, target: tuple[str, int], num_bytes: int) -> None:
        self.listener = listener
        self.target = target
        self.left = num_bytes
        self.open: list[socket.socket] = []

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                self.open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def cut(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self.open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while content := source.recv(4096):
                if counted:
                    self.left -= len(content)
                    if self.left < 0:
                        self.cut()
                        return
                sink.sendall(content)
