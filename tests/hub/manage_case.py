"""Packages that differ in one thing, and a way to a Hub that counts."""

import hashlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cutting_proxy import _Proxy
from packaging_case import rehashed

from sparsezoo_hub.hub.local_hub.process import HubAddress
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest

MUCH = 1 << 40


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".gitattributes"
    }


def manifest_of(folder: Path) -> Manifest:
    return read_manifest(folder / "manifest.json")


def variant(package: Path, folder: Path, edits: dict[str, tuple[str, str]], **changes: object) -> Path:
    """A copy with other words in its texts, and a manifest that fits them."""
    shutil.copytree(package, folder)
    for name, (before, after) in edits.items():
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after))
    rehashed(folder, **changes)
    return folder


def place(hub: HubAddress) -> tuple[str, int]:
    host, port = hub.url.removeprefix("http://").split(":")
    return host, int(port)


class _Counter(_Proxy):
    """Counts what the Hub answers too."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)), target, MUCH)
        self.received = 0

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        if counted:
            super()._pass(source, sink, counted)
            return
        with suppress(OSError):
            while content := source.recv(1 << 16):
                self.received += len(content)
                sink.sendall(content)


@contextmanager
def _counting(hub: HubAddress) -> Iterator[tuple[str, _Counter]]:
    proxy = _Counter(place(hub))
    thread = threading.Thread(target=proxy.accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.listener.getsockname()[1]}", proxy
    finally:
        proxy.cut()
        thread.join()


@contextmanager
def counting_proxy(hub: HubAddress) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield another address of a Hub, and how many bytes clients have sent it so far."""
    with _counting(hub) as (address, proxy):
        yield address, lambda: MUCH - proxy.left


@contextmanager
def counting_answers(hub: HubAddress) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield another address of a Hub, and how many bytes it has answered so far."""
    with _counting(hub) as (address, proxy):
        yield address, lambda: proxy.received
