import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from local_hub_case import LocalHub, commit, everything_in, file_line, send, upload_address


def test_the_token_belongs_to_the_local_account(local_hub: LocalHub) -> None:
    assert local_hub.api.whoami()["name"] == "local"


def test_without_the_token_nothing_is_written(local_hub: LocalHub, repo_id: str) -> None:
    before = everything_in(local_hub.root)
    wrong = HfApi(endpoint=local_hub.url, token="hf_wrong")  # noqa: S106
    nobody = HfApi(endpoint=local_hub.url, token=False)
    attempts: list[Callable[[HfApi], object]] = [
        lambda api: api.create_repo("org/stolen"),
        lambda api: api.delete_repo(repo_id),
        lambda api: api.upload_file(repo_id=repo_id, path_or_fileobj=b"x", path_in_repo="x.txt"),
        lambda api: api.create_branch(repo_id, branch="x"),
        lambda api: api.create_tag(repo_id, tag="x"),
    ]
    for attempt in attempts:
        with pytest.raises(HfHubHTTPError, match="needs a token of this Hub, got another one"):
            attempt(wrong)
        with pytest.raises(HfHubHTTPError, match="needs a token of this Hub, got none"):
            attempt(nobody)
    for path in (f"/api/models/{repo_id}/commit/main", f"/{repo_id}.git/info/lfs/objects/batch"):
        assert local_hub.client.post(path, content=b"{}").status_code == 401
    assert everything_in(local_hub.root) == before


def test_reading_is_open_and_a_foreign_token_does_not_matter(local_hub: LocalHub, repo_id: str) -> None:
    for token in (False, "hf_of_another_hub"):
        assert HfApi(endpoint=local_hub.url, token=token).model_info(repo_id).id == repo_id


def test_a_commit_on_a_parent_that_is_not_the_head_is_refused(local_hub: LocalHub, repo_id: str) -> None:
    api = local_hub.api
    old = api.model_info(repo_id).sha
    operation = CommitOperationAdd("a.txt", b"a")
    new = api.create_commit(repo_id, [operation], commit_message="a", parent_commit=old).oid
    with pytest.raises(HfHubHTTPError, match=f"stands at {new}, not at {old}") as refusal:
        api.create_commit(repo_id, [CommitOperationAdd("b.txt", b"b")], commit_message="b", parent_commit=old)
    assert refusal.value.response.status_code == 412
    assert api.model_info(repo_id).sha == new
    api.create_commit(repo_id, [CommitOperationAdd("b.txt", b"b")], commit_message="b", parent_commit=new[:7])


def test_an_upload_whose_bytes_do_not_match_is_refused_and_not_stored(
    local_hub: LocalHub, repo_id: str
) -> None:
    content = b"the content that was promised"
    sha256 = hashlib.sha256(content).hexdigest()
    before = everything_in(local_hub.root)
    for bad in (content[::-1], content[:-1], content + b"!", b""):
        answer = local_hub.client.put(upload_address(local_hub, repo_id, sha256, len(content)), content=bad)
        assert answer.status_code == 400
        assert sha256 in answer.json()["error"]
    assert everything_in(local_hub.root) == before
    address = upload_address(local_hub, repo_id, sha256, len(content))
    for forged in (address.replace("size=29", "size=30"), address.replace("signature=", "signature=0")):
        assert local_hub.client.put(forged, content=content).status_code == 403
    assert everything_in(local_hub.root) == before
    assert local_hub.client.put(address, content=content).status_code == 200
    # The pointer among the repository's objects says that the file may be committed there.
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
    oid = hashlib.sha1(f"blob {len(pointer)}\0{pointer}".encode(), usedforsecurity=False).hexdigest()
    assert set(everything_in(local_hub.root)) - set(before) == {
        f"objects/{sha256[:2]}/{sha256[2:4]}/{sha256}",
        f"models/{repo_id}.git/objects/{oid[:2]}/{oid[2:]}",
    }


def test_a_commit_of_a_large_file_that_was_not_uploaded_is_refused(local_hub: LocalHub, repo_id: str) -> None:
    head = local_hub.api.model_info(repo_id).sha
    value = {"path": "w.bin", "algo": "sha256", "oid": "ab" * 32, "size": 5}
    by_line = commit(local_hub, repo_id, file_line("good.txt", b"x"), {"key": "lfsFile", "value": value})
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 5\n"
    by_pointer = commit(local_hub, repo_id, file_line("w.txt", pointer.encode()))
    for answer in (by_line, by_pointer):
        assert answer.status_code == 400
        assert "was not uploaded to this Hub" in answer.headers["X-Error-Message"]
    assert local_hub.api.model_info(repo_id).sha == head


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "no header line"),
        (b"nonsense\n", 400, "no JSON"),
        (b'{"key": "header", "value": {"summary": ""}}\n', 400, "must be a text that is not empty"),
        (b'{"key": "header", "value": {"summary": "x"}}\n{"key": "move", "value": {}}', 400, "is not one of"),
        (b'{"key": "header", "value": {"summary": "\\ud800"}}\n', 400, "valid Unicode"),
        (b'{"key": "file", "value": {"content": "QUJD', 400, "inside a file's content"),
        (b'{"key": "file", "value": {"content": "QUJ", "path": "a"}}\n', 400, "no multiple of 4"),
        (b'{"key": "file", "value": {"content": "QU\\/D", "path": "a"}}\n', 400, "not base64"),
        (b'{"key": "file", "value": {"content": "QQ==QUJD", "path": "a"}}\n', 400, "base64"),
        (b'{"key": "lfsFile", "value": {"path": "a", "oid": "../../x"}}\n', 400, "needs its SHA-256"),
        (b'{"key": "header", "value": "' + b"x" * (17 << 20), 413, "send less in one commit"),
    ],
)
def test_a_malformed_commit_is_refused_in_a_sentence(
    local_hub: LocalHub, repo_id: str, body: bytes, status: int, message: str
) -> None:
    head = local_hub.api.model_info(repo_id).sha
    before = everything_in(local_hub.root)
    answer = send(local_hub, "POST", f"/api/models/{repo_id}/commit/main", content=body)
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text
    assert local_hub.api.model_info(repo_id).sha == head
    assert everything_in(local_hub.root) == before


def test_a_file_cannot_take_the_place_of_a_folder(local_hub: LocalHub, repo_id: str) -> None:
    assert commit(local_hub, repo_id, file_line("a/b", b"x")).status_code == 200
    assert "a file and a folder" in commit(local_hub, repo_id, file_line("a", b"x")).json()["error"]
    delete = {"key": "deletedFolder", "value": {"path": "a/"}}
    assert commit(local_hub, repo_id, delete, file_line("a", b"x")).status_code == 200


def test_only_a_branch_can_be_committed_to(local_hub: LocalHub, repo_id: str) -> None:
    local_hub.api.create_tag(repo_id, tag="v1")
    for revision in ("v1", "nothing", str(local_hub.api.model_info(repo_id).sha)):
        answer = commit(local_hub, repo_id, file_line("a", b"x"), branch=revision)
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "RevisionNotFound")


@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_parts_of_a_file_are_served_as_http_defines_them(
    local_hub: LocalHub, repo_id: str, size: int
) -> None:
    content = hashlib.shake_128(b"seed").digest(size)
    local_hub.api.upload_file(repo_id=repo_id, path_or_fileobj=content, path_in_repo="a.json")
    path = f"/{repo_id}/resolve/main/a.json"

    def part(value: str) -> httpx2.Response:
        return send(local_hub, "GET", path, headers={"Range": value})

    for value, expected in {
        "bytes=0-9": content[:10],
        "bytes=990-": content[990:],
        "bytes=-5": content[-5:],
        f"bytes=5-{size * 2}": content[5:],
    }.items():
        answer = part(value)
        start = content.index(expected)
        assert (answer.status_code, answer.content) == (206, expected)
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{size}"
    assert (part(f"bytes={size}-").status_code, part("bytes=-0").status_code) == (416, 416)
    assert part(f"bytes={size}-").headers["Content-Range"] == f"bytes */{size}"
    for whole in ("bytes=5-2", "lines=1-2", "bytes=0-1,4-5"):
        assert (part(whole).status_code, part(whole).content) == (200, content)
    head = send(local_hub, "HEAD", path)
    assert head.headers["Content-Length"] == str(size)
    assert head.headers["X-Repo-Commit"] == local_hub.api.model_info(repo_id).sha


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/{id}.git/info/lfs/objects/batch", {"operation": "upload", "transfers": 5}),
        ("POST", "/{id}.git/info/lfs/objects/batch", {"operation": "verify", "objects": []}),
        ("POST", "/{id}.git/info/lfs/objects/batch", {"operation": "upload", "objects": [5]}),
        ("POST", "/{id}.git/info/lfs/objects/batch", {"operation": "upload", "objects": [{"oid": "../x"}]}),
        ("PUT", "/api/large-files/" + "a" * 64 + "?size=1&until=1&signature=é", {}),
        ("POST", "/api/models/{id}/preupload/main", {"files": [{"path": "a", "size": "1"}]}),
        ("POST", "/api/models/{id}/preupload/main", {"files": [{"path": "a", "size": 1, "sample": "!"}]}),
        ("POST", "/api/models/{id}/preupload/main", {"files": [{"path": "../a", "size": 1}]}),
        ("POST", "/api/models/{id}/preupload/main", {"files": 5}),
        ("POST", "/api/models/{id}/tag/main", {"tag": "x", "message": "\ud800"}),
        ("POST", "/api/models/{id}/tag/main", {"tag": 5}),
        ("POST", "/api/models/{id}/branch/x", {"startingPoint": 5}),
        ("POST", "/api/models/{id}/branch/x", []),
        ("POST", "/api/repos/create", {"name": 5}),
        ("POST", "/api/validate-yaml", {"content": 5}),
        ("GET", "/api/models?limit=-1", {}),
        ("GET", "/api/models?cursor=nonsense", {}),
        ("GET", "/api/models/{id}/tree/main?cursor=x", {}),
    ],
)
def test_a_malformed_request_is_refused_in_a_sentence(
    local_hub: LocalHub, repo_id: str, method: str, path: str, body: Any
) -> None:
    answer = send(local_hub, method, path.replace("{id}", repo_id), content=json.dumps(body))
    assert 400 <= answer.status_code < 404
    assert answer.json()["error"]


def test_a_request_that_is_too_long_is_refused(local_hub: LocalHub, repo_id: str) -> None:
    body = json.dumps({"content": "x" * (9 << 20)})
    answer = send(local_hub, "POST", "/api/validate-yaml", content=body)
    assert (answer.status_code, "send less at once" in answer.json()["error"]) == (413, True)
