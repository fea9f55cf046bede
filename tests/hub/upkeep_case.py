import hashlib
import os
import time
from pathlib import Path

from huggingface_hub import HfApi
from local_hub_case import git, stored

from sparsezoo_hub.hub.local_hub.process import HubAddress
from sparsezoo_hub.hub.local_hub.tokens import Tokens

SHARED, OLD, SIDE, ALONE = (bytes([number]) * 3000 for number in range(1, 5))
TWO_DAYS = 2 * 24 * 60 * 60
REPO, TEXT = "models/org/a.git", "main:deep/er/text.txt"


def fill(root: Path, hub: HubAddress) -> HfApi:
    api = HfApi(endpoint=hub.url, token=hub.token)
    for repo_id in ("org/a", "org/b", "org/gone"):
        api.create_repo(repo_id)
        api.upload_file(repo_id=repo_id, path_or_fileobj=SHARED, path_in_repo="shared.bin")
    for path, content in [("deep/er/text.txt", b"text\n"), ("model.bin", OLD)]:
        api.upload_file(repo_id="org/a", path_or_fileobj=content, path_in_repo=path)
    api.create_tag("org/a", tag="v1", tag_message="first")
    api.upload_file(repo_id="org/a", path_or_fileobj=b"new", path_in_repo="model.bin")
    api.create_branch("org/a", branch="side/line")
    api.upload_file(repo_id="org/a", path_or_fileobj=SIDE, path_in_repo="side.bin", revision="side/line")
    api.upload_file(repo_id="org/gone", path_or_fileobj=ALONE, path_in_repo="alone.bin")
    Tokens(root).create("org", "read")
    return api


def object_file(root: Path, name: str) -> Path:
    oid = git(root / REPO, "rev-parse", name).strip()
    return root / REPO / "objects" / oid[:2] / oid[2:]


def large_file(root: Path, content: bytes) -> Path:
    return stored(root, hashlib.sha256(content).hexdigest())


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def make_old(root: Path) -> None:
    then = time.time() - TWO_DAYS
    for path in root.rglob("*"):
        os.utime(path, (then, then))
