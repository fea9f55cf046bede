import json
import os
import random
import signal
import subprocess
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from local_hub_case import LocalHub

from sparsezoo_hub.hub.local_hub.process import HubAddress, running_hub


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def post_commit(client: httpx2.Client, token: str, path: str, content: bytes) -> str:
    value = {"content": b64encode(content).decode(), "path": path, "encoding": "base64"}
    lines = [{"key": "header", "value": {"summary": path}}, {"key": "file", "value": value}]
    answer = client.post(
        "/api/models/org/m/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers={"Authorization": f"Bearer {token}"},
    )
    answer.raise_for_status()
    return str(answer.json()["commitOid"])


def commit_without_end(hub: HubAddress, weights: bytes, first: int, acknowledged: list[str]) -> None:
    with httpx2.Client(base_url=hub.url) as client:
        for number in count(first):
            content = weights + b"%d" % number
            acknowledged.append(post_commit(client, hub.token, f"{number}.bin", content))


def test_git_itself_finds_the_repository_sound_and_tells_the_same_history(
    local_hub: LocalHub, repo_id: str
) -> None:
    api = local_hub.api
    for number in range(3):
        api.upload_file(
            repo_id=repo_id,
            path_or_fileobj=b"%d" % number,
            path_in_repo=f"d{number}/ü {number}.txt",
            commit_message=f"commit {number}",
            commit_description="why\n\nand how" if number else None,
        )
    api.create_branch(repo_id, branch="b/c", revision="main")
    api.create_tag(repo_id, tag="v1", tag_message="first")
    folder = local_hub.git_dir(repo_id)
    assert git(folder, "fsck", "--strict", "--full").strip() == ""
    commits = [(commit.commit_id, commit.title) for commit in api.list_repo_commits(repo_id)]
    assert commits == [
        tuple(line.split(" ", 1)) for line in git(folder, "log", "--format=%H %s").splitlines()
    ]
    entries = api.list_repo_tree(repo_id, recursive=True)
    listed = {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}
    names = git(
        folder, "-c", "core.quotePath=false", "ls-tree", "-r", "main", "--format=%(path)\t%(objectname)"
    )
    assert listed == dict(line.split("\t") for line in names.splitlines())
    assert git(folder, "rev-parse", "b/c", "v1^{commit}").split() == [commits[0][0]] * 2


def test_commits_from_four_threads_are_all_in_the_history(local_hub: LocalHub, repo_id: str) -> None:
    titles = [f"thread {thread} commit {number}" for thread in range(4) for number in range(4)]

    def push(title: str) -> str:
        path = f"{title.replace(' ', '-')}.txt"
        return local_hub.api.upload_file(
            repo_id=repo_id, path_or_fileobj=title.encode(), path_in_repo=path, commit_message=title
        ).oid

    with ThreadPoolExecutor(4) as threads:
        oids = list(threads.map(push, titles))
    commits = local_hub.api.list_repo_commits(repo_id)
    assert {(commit.commit_id, commit.title) for commit in commits[:-1]} == set(
        zip(oids, titles, strict=True)
    )
    assert len(local_hub.api.list_repo_files(repo_id)) == len(titles) + 1
    git(local_hub.git_dir(repo_id), "fsck", "--strict")


def test_a_kill_in_the_middle_of_commits_leaves_the_old_or_the_new_revision(tmp_path: Path) -> None:
    root, cache = tmp_path / "hub", tmp_path / "cache"
    numbers = random.Random(0)  # noqa: S311 - not for secrets
    weights = numbers.randbytes(1_500_000)
    promised: list[str] = []
    checked = 0
    for _ in range(10):
        acknowledged: list[str] = []
        with running_hub(root) as hub:
            api = HfApi(endpoint=hub.url, token=hub.token)
            api.create_repo("org/m", exist_ok=True)
            history = [commit.commit_id for commit in api.list_repo_commits("org/m")][::-1][1:]
            # Everything acknowledged before the last kill is there, and at most the commit under way.
            assert history[: len(promised)] == promised
            assert len(history) - len(promised) in {0, 1}
            for number in range(checked, len(history)):
                path = api.hf_hub_download("org/m", f"{number}.bin", cache_dir=cache)
                assert Path(path).read_bytes() == weights + b"%d" % number
            checked = len(history)
            assert list((root / "arriving").iterdir()) == []
            # The kill comes from another thread while commits follow each other.
            killer = threading.Timer(numbers.uniform(0.02, 0.4), os.kill, (hub.pid, signal.SIGKILL))
            killer.start()
            with pytest.raises(httpx2.TransportError):
                commit_without_end(hub, weights, len(history), acknowledged)
            killer.join()
        promised = history + acknowledged
        git(root / "models" / "org" / "m.git", "fsck", "--strict", "--connectivity-only")
    assert checked > 0


def test_what_a_kill_leaves_locked_is_free_again_after_a_restart(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    folder = root / "models" / "org" / "m.git"
    with running_hub(root) as hub:
        HfApi(endpoint=hub.url, token=hub.token).create_repo("org/m")
    # git hash-object of "hello\n", which is about to be written
    locks = [
        "refs/heads/main.lock",
        "packed-refs.lock",
        "objects/ce/013625030ba8dba906f756967f9e9ca394464a.lock",
    ]
    for lock in locks:
        (folder / lock).parent.mkdir(exist_ok=True)
        (folder / lock).write_bytes(b"half")
    (root / "arriving" / "half").write_bytes(b"half")
    (root / "aside" / "half").mkdir()
    with running_hub(root) as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        api.upload_file(repo_id="org/m", path_or_fileobj=b"hello\n", path_in_repo="hello.txt")
        assert api.list_repo_files("org/m") == [".gitattributes", "hello.txt"]
    assert [*folder.rglob("*.lock"), *(root / "arriving").iterdir(), *(root / "aside").iterdir()] == []
