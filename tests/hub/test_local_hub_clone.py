import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cutting_proxy import place
from huggingface_hub import HfApi
from local_hub_case import LocalHub

from sparsezoo_hub.hub.local_hub.tokens import Tokens

WEIGHTS = bytes(range(256)) * 5000

Git = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    home = tmp_path / "home"
    home.mkdir()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }

    def run(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *map(str, arguments)],
            cwd=home,
            env=variables,
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    return run


@pytest.fixture
def filled(local_hub: LocalHub, repo_id: str) -> str:
    for number in range(3):
        local_hub.api.upload_file(
            repo_id=repo_id,
            path_or_fileobj=b"number %d\n" % number,
            path_in_repo=f"d/ü {number}.txt",
            commit_message=f"commit {number}",
        )
    local_hub.api.upload_file(repo_id=repo_id, path_or_fileobj=WEIGHTS, path_in_repo="model.safetensors")
    local_hub.api.create_tag(repo_id, tag="v1", tag_message="first")
    return repo_id


def commit_ids(api: HfApi, repo_id: str) -> list[str]:
    return [commit.commit_id for commit in api.list_repo_commits(repo_id)]


@pytest.mark.parametrize(("version", "suffix"), [("0", ""), ("1", ".git"), ("2", "")])
def test_git_clones_files_history_and_tags_in_every_version_of_its_protocol(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path, version: str, suffix: str
) -> None:
    address, clone = f"{local_hub.url}/{filled}{suffix}", tmp_path / "clone"
    git("-c", f"protocol.version={version}", "clone", address, clone)
    assert (clone / "d" / "ü 1.txt").read_bytes() == b"number 1\n"
    log = git("-C", clone, "log", "--format=%H").stdout.split()
    assert log == commit_ids(local_hub.api, filled)
    assert git("-C", clone, "rev-parse", "v1^{commit}").stdout.strip() == log[0]
    git("-C", clone, "fsck", "--strict", "--full")


def test_git_fetch_brings_what_was_committed_since(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git("clone", f"{local_hub.url}/{filled}", clone)
    oid = local_hub.api.upload_file(repo_id=filled, path_or_fileobj=b"new\n", path_in_repo="new.txt").oid
    local_hub.api.create_branch(filled, branch="side")
    git("-C", clone, "pull", "--ff-only")
    assert git("-C", clone, "rev-parse", "HEAD", "origin/side").stdout.split() == [oid, oid]
    assert (clone / "new.txt").read_bytes() == b"new\n"


def test_a_shallow_clone_has_one_commit_and_can_be_deepened(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git("clone", "--depth", "1", f"{local_hub.url}/{filled}", clone)
    assert git("-C", clone, "rev-list", "--count", "HEAD").stdout.strip() == "1"
    git("-C", clone, "fetch", "--unshallow")
    log = git("-C", clone, "log", "--format=%H").stdout.split()
    assert log == commit_ids(local_hub.api, filled)


def test_a_clone_without_contents_fetches_them_when_they_are_asked_for(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git("clone", "--filter=blob:none", "--no-checkout", f"{local_hub.url}/{filled}", clone)
    assert "?" in git("-C", clone, "rev-list", "--objects", "--missing=print", "--all").stdout
    assert git("-C", clone, "show", "HEAD:d/ü 2.txt").stdout == "number 2\n"


def test_a_fetch_that_names_many_commits_is_understood(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    # Over a kilobyte git packs what it sends.
    clone = tmp_path / "clone"
    git("clone", f"{local_hub.url}/{filled}", clone)
    git("-C", clone, "config", "user.name", "me")
    git("-C", clone, "config", "user.email", "me@localhost")
    for number in range(40):
        git("-C", clone, "commit", "--allow-empty", "-m", f"own {number}")
    oid = local_hub.api.upload_file(repo_id=filled, path_or_fileobj=b"new\n", path_in_repo="new.txt").oid
    git("-C", clone, "fetch")
    assert git("-C", clone, "rev-parse", "origin/main").stdout.strip() == oid


def test_a_large_file_is_its_pointer_without_git_lfs(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git("clone", f"{local_hub.url}/{filled}", clone)
    assert (clone / "model.safetensors").read_text() == (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(WEIGHTS).hexdigest()}\n"
        "size 1280000\n"
    )


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
@pytest.mark.parametrize("private", [False, True])
def test_git_lfs_brings_the_large_files(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path, private: bool
) -> None:
    local_hub.api.update_repo_settings(filled, private=private)
    token = Tokens(local_hub.root).create("org", "read")
    address = local_hub.url.replace("://", f"://org:{token}@") if private else local_hub.url
    git("lfs", "install")
    clone = tmp_path / "clone"
    git("clone", f"{address}/{filled}", clone)
    assert (clone / "model.safetensors").read_bytes() == WEIGHTS
    assert git("-C", clone, "status", "--porcelain").stdout == ""
    git("-C", clone, "lfs", "fsck")


def test_lfs_finds_nothing_that_the_repository_does_not_hold(
    local_hub: LocalHub, filled: str, new_repo: Callable[[], str]
) -> None:
    lfs = local_hub.api.get_paths_info(filled, "model.safetensors")[0].lfs  # type: ignore[union-attr]
    assert lfs is not None
    body = {"operation": "download", "objects": [{"oid": lfs.sha256, "size": lfs.size}]}

    def ask(repo_id: str) -> dict[str, object]:
        answer = local_hub.client.post(f"/{repo_id}.git/info/lfs/objects/batch", json=body)
        assert answer.status_code == 200
        return dict(answer.json()["objects"][0])

    assert "actions" in ask(filled)
    assert "actions" not in (elsewhere := ask(new_repo()))
    assert elsewhere["error"]["code"] == 404  # type: ignore[index]


def test_a_private_repository_is_cloned_by_its_owner_only(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    local_hub.api.update_repo_settings(filled, private=True)
    tokens = Tokens(local_hub.root)
    for name, token in [
        ("nobody", None),
        ("other", tokens.create("other", "write")),
        ("org", "hf_wrong"),
    ]:
        sender = f"{name}:{token}@" if token else ""
        address = local_hub.url.replace("://", f"://{sender}")
        refused = [
            git("clone", f"{address}/{repo_id}", tmp_path / name, check=False).stderr.replace(repo_id, "ID")
            for repo_id in (filled, "org/nothing-here")
        ]
        assert refused[0] == refused[1]
        assert "fatal: " in refused[0]
        assert not (tmp_path / name).exists()
    address = local_hub.url.replace("://", f"://org:{tokens.create('org', 'read')}@")
    git("clone", f"{address}/{filled}", tmp_path / "clone")
    assert (tmp_path / "clone" / "d" / "ü 0.txt").read_bytes() == b"number 0\n"


def test_a_push_is_refused_and_told_what_to_use(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    address = local_hub.url.replace("://", f"://local:{local_hub.token}@")
    git("clone", f"{address}/{filled}", clone)
    git(
        "-C",
        clone,
        "-c",
        "user.name=me",
        "-c",
        "user.email=me@localhost",
        "commit",
        "--allow-empty",
        "-m",
        "x",
    )
    pushed = git("-C", clone, "push", check=False)
    assert pushed.returncode != 0
    assert "upload_folder" in pushed.stderr
    assert local_hub.client.post(f"/{filled}.git/git-receive-pack", content=b"0000").status_code == 403
    assert len(commit_ids(local_hub.api, filled)) == 5


def test_only_the_smart_protocol_is_answered(local_hub: LocalHub, filled: str) -> None:
    for query in ("", "?service=git-upload-archive"):
        answer = local_hub.client.get(f"/{filled}/info/refs{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert local_hub.client.get(f"/{filled}/HEAD").status_code == 404


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_repository_of_another_user_is_served(
    local_hub: LocalHub, filled: str, git: Git, tmp_path: Path
) -> None:
    os.chown(local_hub.git_dir(filled), 12345, 12345)
    git("clone", f"{local_hub.url}/{filled}", tmp_path / "clone")


def test_a_repository_that_git_cannot_read_is_told(local_hub: LocalHub, filled: str, git: Git) -> None:
    (local_hub.git_dir(filled) / "HEAD").unlink()
    told = git("clone", f"{local_hub.url}/{filled}", check=False).stderr
    assert "git cannot read this repository" in told
    request = {"content": b"0000", "headers": {"Content-Type": "application/x-git-upload-pack-request"}}
    assert local_hub.client.post(f"/{filled}/git-upload-pack", **request).status_code == 400


def test_a_request_that_would_unpack_to_gigabytes_is_refused(local_hub: LocalHub, filled: str) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(20)) + packer.flush()
    for content, encoding, status in [
        (bomb, "gzip", 413),
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"0000")[:-9], "gzip", 400),
        (b"0000", "br", 415),
    ]:
        headers = {"Content-Encoding": encoding, "Content-Type": "application/x-git-upload-pack-request"}
        answer = local_hub.client.post(
            f"/{filled}/git-upload-pack", content=content, headers=headers, timeout=60
        )
        assert answer.status_code == status


def test_a_client_that_goes_away_leaves_no_process_behind(local_hub: LocalHub, repo_id: str) -> None:
    for number in range(8):
        text = os.urandom(500_000).hex().encode()
        local_hub.api.upload_file(repo_id=repo_id, path_or_fileobj=text, path_in_repo=f"{number}.txt")
    head = commit_ids(local_hub.api, repo_id)[0]
    body = f"0032want {head}\n00000009done\n".encode()
    request = (
        f"POST /{repo_id}/git-upload-pack HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-git-upload-pack-request\r\n\r\n"
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(place(local_hub.url))
        client.sendall(request.encode() + body)
        assert client.recv(64).startswith(b"HTTP/1.1 200 OK")
        children = psutil.Process(local_hub.address.pid).children()
        assert len(children) == 1
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert (len(gone), alive) == (1, [])
