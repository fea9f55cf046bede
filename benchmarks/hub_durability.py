"""What a Hub of one's own survives: kills, and many writers at once.

    python benchmarks/hub_durability.py kill [--rounds 200]
    python benchmarks/hub_durability.py writers [--clients 8] [--commits 50]

`kill` sends SIGKILL to the server at a random moment while commits follow each other, checks what is on the
disk, and starts it again, round after round. `writers` lets clients commit to one branch at once, every
second one only on top of what it has seen. Each fails with an AssertionError if anything is lost or mixed up.
"""

import argparse
import hashlib
import json
import multiprocessing
import random
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from sparsezoo_hub.hub.local_hub.fsck import check_root
from sparsezoo_hub.hub.local_hub.server import serve
from sparsezoo_hub.hub.local_hub.tokens import write_token

REPO = "org/m"
STALE_PARENT = 412
FILES = ("a.txt", "b/c.txt", "weights.bin", "long.bin")


@dataclass
class Server:
    """A server process of its own, started without importing everything again."""

    url: str
    token: str
    process: multiprocessing.process.BaseProcess

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can tell."""
        self.process.kill()
        self.process.join()


@contextmanager
def running_server(root: Path) -> Iterator[Server]:
    """Serve the Hub under `root` until the block ends."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", serve.__module__])
    receiver, sender = context.Pipe(duplex=False)
    token = write_token(root)
    process = context.Process(
        target=serve, args=(root, 0), kwargs={"token": token, "on_start": sender.send}, daemon=True
    )
    process.start()
    sender.close()
    with receiver:
        url = receiver.recv()
    try:
        yield Server(url, token, process)
    finally:
        process.terminate()
        process.join()


@dataclass
class KillRounds:
    """What `kill_at_random_moments` saw."""

    rounds: int = 0
    commits: int = 0
    cut_and_kept: int = 0
    """Commits that were made although nobody heard of it."""
    leftovers: int = 0
    """Kills that left something half done on the disk, which the next start removed."""
    acknowledged: list[str] = field(default_factory=list)


def kill_at_random_moments(root: Path, rounds: int, seed: int = 0) -> KillRounds:
    """Kill a server while it commits, again and again; every revision must be whole and none be lost.

    Args:
        root: the Hub's folder, new.
        rounds: how many kills.
        seed: of the moments.
    """
    numbers = random.Random(seed)  # noqa: S311 - not for secrets
    seen = KillRounds()
    pace = 1.0
    for _ in range(rounds):
        with running_server(root) as server:
            HfApi(endpoint=server.url, token=server.token).create_repo(REPO, exist_ok=True)
            before = len(seen.acknowledged)
            # Within about the time of two commits, however fast this machine is just now.
            killer = threading.Timer(numbers.uniform(0, 2 * pace), server.kill)
            pace = _commit_until_killed(server, killer, seen.acknowledged) or pace
            killer.join()
        seen.rounds += 1
        report = check_root(root)
        assert report.problems == [], report.problems
        seen.leftovers += bool(report.leftovers)
        history = _git(root, "rev-list", "--reverse", "main").split()[1:]
        # All that was acknowledged, and at most the one that was under way.
        assert history[: len(seen.acknowledged)] == seen.acknowledged
        assert len(history) - len(seen.acknowledged) in {0, 1}
        seen.cut_and_kept += len(history) - len(seen.acknowledged)
        seen.acknowledged = history
        for number in range(before, len(history)):
            _check_revision(root, history[number], number)
    seen.commits = len(seen.acknowledged)
    _git(root, "fsck", "--strict", "--full")
    return seen


def _commit_until_killed(server: Server, killer: threading.Timer, acknowledged: list[str]) -> float | None:
    """Commit until the server is gone, and return how long the last commit took that was answered."""
    took = None
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}) as client:
        killer.start()
        try:
            for number in count(len(acknowledged)):
                lines = [{"key": "header", "value": {"summary": f"commit {number}"}}]
                for path in FILES:
                    content = b64encode(_content(path, number)).decode()
                    value = {"content": content, "path": path, "encoding": "base64"}
                    lines.append({"key": "file", "value": value})
                body = "\n".join(map(json.dumps, lines))
                began = time.perf_counter()
                answer = client.post(f"/api/models/{REPO}/commit/main", content=body)
                answer.raise_for_status()
                acknowledged.append(str(answer.json()["commitOid"]))
                took = time.perf_counter() - began
        except httpx2.TransportError:
            return took


def _content(path: str, number: int) -> bytes:
    # Small files stand in git, "weights.bin" beside it, and "long.bin" is received on disk.
    size = {"weights.bin": 1000, "long.bin": 1_200_000}.get(path, 10)
    if path == "long.bin":
        number %= 5  # else most of the time would go into hashing them all, round after round
    return f"{path} {number:06} ".encode().ljust(size, b"x")


def _check_revision(root: Path, commit: str, number: int) -> None:
    for path in FILES:
        expected = _content(path, number)
        stored = _git(root, "show", f"{commit}:{path}")
        if path.endswith(".bin"):
            sha256 = hashlib.sha256(expected).hexdigest()
            assert sha256 in stored
            stored = (root / "objects" / sha256[:2] / sha256[2:4] / sha256).read_text()
        assert stored == expected.decode()


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(root / "models" / f"{REPO}.git"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


def commit_from_many_clients(root: Path, clients: int, commits: int) -> int:
    """Let clients commit to one branch at once; every commit must be in the history, and every file there.

    Every second client names the commit that it has seen as the parent, is refused if the branch has moved
    on, and tries again.

    Returns:
        How many commits were refused, and made again, because the branch had moved on.
    """
    refused = 0

    def run(client: int) -> list[str]:
        nonlocal refused
        api = HfApi(endpoint=server.url, token=server.token)
        oids = []
        for number in range(commits):
            path = f"client-{client}/{number}.txt"
            while True:
                parent = api.repo_info(REPO).sha if client % 2 else None
                try:
                    commit = api.create_commit(
                        REPO,
                        [CommitOperationAdd(path, f"{client} {number}".encode())],
                        commit_message=path,
                        parent_commit=parent,
                    )
                except HfHubHTTPError as error:
                    if error.response.status_code != STALE_PARENT:
                        raise
                    refused += 1
                    continue
                oids.append(commit.oid)
                break
        return oids

    with running_server(root) as server:
        api = HfApi(endpoint=server.url, token=server.token)
        api.create_repo(REPO)
        with ThreadPoolExecutor(clients) as threads:
            made = list(threads.map(run, range(clients)))
        history = [commit.commit_id for commit in api.list_repo_commits(REPO)]
        files = set(api.list_repo_files(REPO))
    assert len(history) == clients * commits + 1
    assert set(history[:-1]) == {oid for oids in made for oid in oids}
    wanted = {f"client-{client}/{number}.txt" for client in range(clients) for number in range(commits)}
    assert files == wanted | {".gitattributes"}
    # Each client's own are in the order in which it made them.
    place = {oid: position for position, oid in enumerate(reversed(history))}
    for oids in made:
        assert [place[oid] for oid in oids] == sorted(place[oid] for oid in oids)
    report = check_root(root)
    assert (report.problems, report.leftovers) == ([], [])
    return refused


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["kill", "writers"])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--commits", type=int, default=50)
    options = parser.parse_args()
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        root = Path(folder, "hub")
        if options.what == "kill":
            seen = kill_at_random_moments(root, options.rounds)
            print(
                f"{seen.rounds} kills, {seen.commits} commits of {len(FILES)} files: none lost, none mixed;"
                f" {seen.cut_and_kept} were made although nobody heard of it, after {seen.leftovers} kills"
                " something half done was there and went with the next start"
            )
        else:
            refused = commit_from_many_clients(root, options.clients, options.commits)
            print(
                f"{options.clients} clients x {options.commits} commits: all in the history; {refused} were"
                " refused because the branch had moved on (412), and made again"
            )
    print(f"{time.perf_counter() - began:.0f} s altogether")


if __name__ == "__main__":
    main()
