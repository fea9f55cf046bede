import asyncio
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import httpx2
import pytest

from sparsezoo_hub.hub.local_hub.server import create_app

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
MEGABYTE = 1 << 20


def load(name: str) -> ModuleType:
    # What runs for an hour as a script runs for seconds here.
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_kill_at_any_moment_leaves_whole_revisions_and_loses_none(tmp_path: Path) -> None:
    seen = load("hub_durability").kill_at_random_moments(tmp_path / "hub", rounds=10)
    assert seen.rounds == 10
    assert seen.commits > 0


def test_eight_clients_that_commit_at_once_lose_nothing(tmp_path: Path) -> None:
    load("hub_durability").commit_from_many_clients(tmp_path / "hub", clients=8, commits=4)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own, of its LFS
@pytest.mark.parametrize("inline", [False, True])
def test_a_file_goes_up_and_down_in_less_memory_than_it_is_long(tmp_path: Path, inline: bool) -> None:
    sent = load("hub_large_file").send_up_and_down(tmp_path / "hub", tmp_path, 64 * MEGABYTE, inline=inline)
    assert sent.peak_up - sent.idle < 24 * MEGABYTE
    assert sent.peak_down - sent.idle < 24 * MEGABYTE


class Disk:
    """Follows which names and contents were synced, as a disk would after a power cut."""

    def __init__(self) -> None:
        self.unsynced_files: set[int] = set()
        self.unsynced_folders: set[int] = set()

    def watch(self, monkeypatch: pytest.MonkeyPatch, reference: Path) -> list[Path]:
        """Record, when `reference` moves, every object that a power cut would lose then."""
        fsync, replace, opened = os.fsync, os.replace, os.open
        lost: list[Path] = []

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            self.unsynced_files.discard(os.fstat(descriptor).st_ino)
            self.unsynced_folders.discard(os.fstat(descriptor).st_ino)

        def written(path: str | bytes, flags: int, *arguments: int, **named: int) -> int:
            descriptor = opened(path, flags, *arguments, **named)
            if flags & os.O_CREAT:
                self.unsynced_files.add(os.fstat(descriptor).st_ino)
            return descriptor

        def renamed(source: str | bytes, target: str | bytes) -> None:
            if Path(os.fsdecode(target)) == reference:
                objects = reference.parents[2] / "objects"
                files = [path for path in objects.glob("??/*") if path.stat().st_ino in self.unsynced_files]
                folders = [
                    path
                    for path in [objects, *objects.glob("??")]
                    if path.stat().st_ino in self.unsynced_folders
                ]
                lost.extend([*files, *folders])
                moves.append(reference)
            replace(source, target)
            self.unsynced_folders.add(Path(os.fsdecode(target)).parent.stat().st_ino)

        def made(path: str | bytes, *arguments: int) -> None:
            make(path, *arguments)
            self.unsynced_folders.add(Path(os.fsdecode(path)).parent.stat().st_ino)

        moves: list[Path] = []
        make = os.mkdir
        for name, spy in [("fsync", synced), ("replace", renamed), ("open", written), ("mkdir", made)]:
            monkeypatch.setattr(os, name, spy)
        self.moves = moves
        return lost


def test_everything_a_commit_needs_is_on_the_disk_before_its_reference_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx2.ASGITransport(app=create_app(tmp_path, token="secret"))  # noqa: S106
    reference = tmp_path / "models/org/m.git/refs/heads/main"
    lines = [{"key": "header", "value": {"summary": "x"}}] + [
        {"key": "file", "value": {"content": "eHl6", "path": path}}
        for path in ("a.txt", "b/c/d.txt", "e.bin")
    ]
    disk = Disk()

    async def commit() -> list[Path]:
        headers = {"Authorization": "Bearer secret"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
            body = {"name": "m", "organization": "org"}
            (await client.post("/api/repos/create", json=body)).raise_for_status()
            with monkeypatch.context() as patch:
                lost = disk.watch(patch, reference)
                content = "\n".join(map(json.dumps, lines))
                answer = await client.post("/api/models/org/m/commit/main", content=content)
            answer.raise_for_status()
        return lost

    assert asyncio.run(commit()) == []
    assert disk.moves == [reference]
    # And the answer comes only when the move itself is on the disk.
    assert reference.stat().st_ino not in disk.unsynced_files
    assert reference.parent.stat().st_ino not in disk.unsynced_folders
