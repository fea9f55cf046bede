import json
import os
import subprocess
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from sparsezoo_hub.hub.local_hub.process import HubAddress


@dataclass(frozen=True)
class LocalHub:
    address: HubAddress
    folder: Path | None
    api: HfApi
    client: httpx2.Client

    @property
    def root(self) -> Path:
        """The Hub's folder, for tests that look into it."""
        if self.folder is None:
            pytest.skip("this Hub's folder cannot be looked into")
        return self.folder

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def token(self) -> str:
        return self.address.token

    def git_dir(self, repo_id: str) -> Path:
        return self.root / "models" / f"{repo_id}.git"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def stored(root: Path, sha256: str) -> Path:
    """Where the Hub under ``root`` keeps a large file."""
    return root / "objects" / sha256[:2] / sha256[2:4] / sha256


def run_client(hub: LocalHub, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command that uses the client, in a process of its own: it reads its settings once."""
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    return subprocess.run(
        command, env={**os.environ, **settings, **env}, capture_output=True, text=True, check=False
    )


def send(hub: LocalHub, method: str, path: str, **request: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {hub.token}", **request.pop("headers", {})}
    return hub.client.request(method, path, headers=headers, **request)


def commit(hub: LocalHub, repo_id: str, *lines: dict[str, Any], branch: str = "main") -> httpx2.Response:
    header = {"key": "header", "value": {"summary": "by hand"}}
    body = "\n".join(json.dumps(line) for line in [header, *lines])
    return send(hub, "POST", f"/api/models/{repo_id}/commit/{branch}", content=body)


def file_line(path: str, content: bytes) -> dict[str, Any]:
    value = {"content": b64encode(content).decode(), "path": path, "encoding": "base64"}
    return {"key": "file", "value": value}


def upload_address(hub: LocalHub, repo_id: str, sha256: str, size: int) -> str:
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": size}]}
    answer = send(hub, "POST", f"/{repo_id}.git/info/lfs/objects/batch", json=body)
    return str(answer.json()["objects"][0]["actions"]["upload"]["href"])


def everything_in(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}


def put_text(api: HfApi, repo_id: str, path: str, text: str, **where: Any) -> str:
    """Commit one file with the client, and return the commit's id."""
    operation = CommitOperationAdd(path, text.encode())
    made = api.create_commit(repo_id, [operation], commit_message=f"Write {path}", **where)
    return str(made.oid)
