import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from huggingface_hub import HfApi
from local_hub_case import LocalHub, everything_in, run_client, send, stored

from sparsezoo_hub.hub.local_hub.process import running_hub

# Two parts, the second of which is short; almost all of it is zeros, which are quickly made.
PART = 16 << 20
SIZE = PART + 1_000_003


@dataclass
class Upload:
    """A file that the Hub has not, and what a client is told to do with it."""

    content: bytes
    digest: str
    action: dict[str, Any]

    def put(self, number: int | str, content: bytes | Iterator[bytes]) -> httpx2.Response:
        return httpx2.put(self.action["header"][str(number)], content=content)

    def part(self, number: int) -> bytes:
        return self.content[(number - 1) * PART : number * PART]

    def complete(self, *etags: str) -> httpx2.Response:
        parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, start=1)]
        return httpx2.post(self.action["href"], json={"oid": self.digest, "parts": parts})


def start(client: httpx2.Client, token: str, repo_id: str, size: int = SIZE) -> Upload:
    content = b"".join([os.urandom(50), bytes(size - 150), os.urandom(100)])
    digest = hashlib.sha256(content).hexdigest()
    body = {"operation": "upload", "transfers": ["basic", "multipart"]}
    answer = client.post(
        f"/{repo_id}.git/info/lfs/objects/batch",
        json={**body, "objects": [{"oid": digest, "size": size}]},
        headers={"Authorization": f"Bearer {token}"},
    ).json()
    return Upload(content, digest, answer["objects"][0]["actions"]["upload"])


@pytest.fixture
def upload(local_hub: LocalHub, repo_id: str) -> Upload:
    return start(local_hub.client, local_hub.token, repo_id)


def broken(content: bytes) -> Iterator[bytes]:
    yield content
    raise ConnectionError("the line went dead")


def test_an_unmodified_client_sends_a_large_file_in_parts_and_only_once(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(os.urandom(1_000))
        file.truncate(SIZE)
    code = (
        "from huggingface_hub import HfApi, logging; logging.set_verbosity_debug();"
        "push = HfApi(headers={'X-Upload-Mode': 'lfs'}).upload_folder;"
        f"[push(repo_id={repo_id!r}, folder_path={str(tmp_path)!r}) for _ in range(2)]"
    )
    done = run_client(local_hub, sys.executable, "-c", code, HF_HUB_DISABLE_XET="1", HF_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("model.safetensors: Upload successful") == 1
    assert [done.stderr.count(f"/parts/{number}?") > 0 for number in (1, 2, 3)] == [True, True, False]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert stored(local_hub.root, digest).read_bytes() == path.read_bytes()
    (info,) = local_hub.api.get_paths_info(repo_id, "model.safetensors")
    assert info.lfs.sha256 == digest  # type: ignore[union-attr]
    assert list((local_hub.root / "partial").iterdir()) == []


def test_a_part_whose_connection_broke_is_sent_again_and_the_others_are_not(
    local_hub: LocalHub, upload: Upload
) -> None:
    first = upload.put(1, upload.part(1)).headers["ETag"]
    with pytest.raises(ConnectionError):
        upload.put(2, broken(upload.part(2)[:500_000]))
    second = upload.put(2, upload.part(2)).headers["ETag"]
    # A client whose answer was lost asks for the end again.
    for _ in range(2):
        assert upload.complete(first, second).json() == {"oid": upload.digest, "size": SIZE}
    assert stored(local_hub.root, upload.digest).read_bytes() == upload.content
    assert upload.put(2, upload.part(2)).status_code == 409


def test_an_upload_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    with running_hub(root) as hub, httpx2.Client(base_url=hub.url) as client:
        HfApi(endpoint=hub.url, token=hub.token).create_repo("org/m")
        upload = start(client, hub.token, "org/m")
        # In another order than the client sends them.
        second = upload.put(2, upload.part(2)).headers["ETag"]
        os.kill(hub.pid, signal.SIGKILL)
    port = urlsplit(hub.url).port
    assert port is not None
    with running_hub(root, port):
        first = upload.put(1, upload.part(1)).headers["ETag"]
        assert upload.complete(first, second).status_code == 200
    assert stored(root, upload.digest).read_bytes() == upload.content


def test_parts_that_do_not_make_the_promised_file_are_refused_and_not_stored(
    local_hub: LocalHub, upload: Upload
) -> None:
    before = everything_in(local_hub.root / "objects")
    first, second = (upload.put(number, upload.part(number)).headers["ETag"] for number in (1, 2))
    # The content of a file that all may share must not change once it was hashed.
    assert upload.put(1, upload.part(1)[::-1]).status_code == 200
    refused = upload.complete(first, second)
    assert (refused.status_code, upload.digest in refused.json()["error"]) == (400, True)
    assert everything_in(local_hub.root / "objects") == before
    assert list((local_hub.root / "partial").iterdir()) == []
    for number in (1, 2):
        upload.put(number, upload.part(number))
    assert upload.complete(first, second).status_code == 200
    assert stored(local_hub.root, upload.digest).read_bytes() == upload.content


def test_what_does_not_fit_an_upload_in_parts_is_refused(local_hub: LocalHub, upload: Upload) -> None:
    before = everything_in(local_hub.root)
    address = upload.action["header"]["2"]
    for size in (0, 1_000_002, 1_000_004):
        answer = httpx2.put(address, content=bytes(size))
        assert (answer.status_code, "must have 1000003 bytes" in answer.json()["error"]) == (400, True)
    for number in ("0", "3", "x", "-1", "1.0", "%31%30%30%30%30%30%30%30%30%30"):
        assert httpx2.put(address.replace("/parts/2?", f"/parts/{number}?"), content=b"x").status_code == 404
    for forged in (address.replace("size=", "size=1"), address.replace("upload=", "upload=0")):
        assert httpx2.put(forged, content=b"x").status_code == 403
        assert httpx2.post(forged.replace("/parts/2?", "/parts?"), json={}).status_code == 403
    for etags in ([], ['"x"'], ['"x"', '"y"']):
        assert "with the ETag of each" in upload.complete(*etags).json()["error"]
    (local_hub.root / "partial" / upload.action["href"].split("upload=")[1][:32]).unlink()
    assert everything_in(local_hub.root) == before


def test_nothing_can_be_claimed_that_was_not_sent(local_hub: LocalHub, upload: Upload) -> None:
    upload_id = upload.action["href"].split("upload=")[1][:32]
    answer = upload.complete(*(f'"{upload_id}-{number}"' for number in (1, 2)))
    assert answer.status_code == 400
    assert not stored(local_hub.root, upload.digest).exists()


def test_a_client_that_knows_no_parts_and_a_small_file_get_one_address(
    local_hub: LocalHub, repo_id: str
) -> None:
    for transfers, size in ((["basic"], SIZE), (None, SIZE), (["basic", "multipart"], PART)):
        body = {"operation": "upload", "transfers": transfers, "objects": [{"oid": "ab" * 32, "size": size}]}
        answer = send(local_hub, "POST", f"/{repo_id}.git/info/lfs/objects/batch", json=body).json()
        assert answer["transfer"] == "basic"
        assert "header" not in answer["objects"][0]["actions"]["upload"]
