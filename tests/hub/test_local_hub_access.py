import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from local_hub_case import LocalHub, commit, everything_in, file_line, upload_address
from owner_case import NAMES, Owner, make_owner
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.server import ROUTES

OK = 200


@pytest.fixture(scope="module")
def alice(local_hub: LocalHub) -> Owner:
    return make_owner(local_hub, "alice")


@pytest.fixture(scope="module")
def bob(local_hub: LocalHub) -> Owner:
    return make_owner(local_hub, "bob")


@pytest.fixture(scope="module")
def nobody(local_hub: LocalHub) -> HfApi:
    return HfApi(endpoint=local_hub.url, token=False)


@pytest.fixture(scope="module")
def strangers(bob: Owner, nobody: HfApi) -> list[HfApi]:
    return [nobody, bob.api(), bob.api("read"), HfApi(endpoint=bob.hub.url, token="hf_unknown")]  # noqa: S106


@pytest.fixture(scope="module")
def hidden(alice: Owner) -> str:
    return alice.repo(private=True)


def addresses() -> Iterator[tuple[str, str]]:
    values = {"revision": "main", "branch": "main", "path": "a.txt", "folder": "a", "num": "1", "rest": "a"}
    for route in ROUTES:
        if not isinstance(route, Route) or "{owner}/{name}" not in route.path:
            continue
        path = re.sub(
            r"\{(\w+)(:\w+)?\}",
            lambda m: values.get(m[1], m[0] if m[1] in {"owner", "name"} else "1"),
            route.path,
        )
        for method in sorted(route.methods or {"GET"}):
            yield method, path


@pytest.mark.parametrize(("method", "address"), list(addresses()))
def test_what_may_not_be_seen_answers_as_what_does_not_exist(
    alice: Owner, bob: Owner, hidden: str, method: str, address: str
) -> None:
    missing = hidden[:-1] + "x"
    callers = [
        {},
        {"Authorization": f"Bearer {bob.write}"},
        {"Authorization": f"Bearer {bob.read}"},
        {"Authorization": "Bearer hf_unknown"},
        {"Authorization": httpx2.BasicAuth("alice", bob.write)._auth_header},
    ]
    for headers in callers:
        answers = []
        for repo_id in (hidden, missing):
            path = address.replace("{owner}/{name}", repo_id)
            answer = alice.hub.client.request(
                method, path, params={"service": "git-upload-pack"}, headers=headers, content=b"{}"
            )
            told = {
                key: value.replace(repo_id, "ID") for key, value in answer.headers.items() if key != "date"
            }
            answers.append((answer.status_code, told, answer.text.replace(repo_id, "ID")))
        assert answers[0] == answers[1]
        assert answers[0][0] != OK


def test_a_private_repository_is_there_for_its_owner_only(
    alice: Owner, strangers: list[HfApi], tmp_path: Path
) -> None:
    hidden, shown = alice.repo(private=True), alice.repo(private=False)
    alice.api().upload_file(repo_id=hidden, path_or_fileobj=b"secret", path_in_repo="a.txt")
    for scope in ("write", "read"):
        api = alice.api(scope)
        assert (api.model_info(hidden).private, api.model_info(shown).private) == (True, False)
        listed = {model.id: model.private for model in api.list_models(author="alice")}
        assert (listed[hidden], listed[shown]) == (True, False)
        assert (
            Path(api.hf_hub_download(hidden, "a.txt", cache_dir=tmp_path / scope)).read_bytes() == b"secret"
        )
    attempts: list[Callable[[HfApi], object]] = [
        lambda api: api.model_info(hidden),
        lambda api: api.list_repo_refs(hidden),
        lambda api: api.hf_hub_download(hidden, "a.txt", cache_dir=tmp_path / "none"),
        lambda api: api.snapshot_download(hidden, cache_dir=tmp_path / "none"),
    ]
    for stranger in strangers:
        assert not stranger.repo_exists(hidden)
        assert stranger.repo_exists(shown)
        found = {model.id for model in stranger.list_models(search="model-")}
        assert (hidden in found, shown in found) == (False, True)
        for attempt in attempts:
            with pytest.raises(RepositoryNotFoundError):
                attempt(stranger)


def test_a_read_token_changes_nothing_and_a_write_token_only_what_is_its_owners(
    alice: Owner, bob: Owner
) -> None:
    mine, hidden = alice.repo(private=False), alice.repo(private=True)
    before = everything_in(alice.hub.root)
    attempts: list[Callable[[HfApi, str], object]] = [
        lambda api, repo: api.upload_file(repo_id=repo, path_or_fileobj=b"x", path_in_repo="x.txt"),
        lambda api, repo: api.create_branch(repo, branch="x"),
        lambda api, repo: api.create_tag(repo, tag="x"),
        lambda api, repo: api.delete_branch(repo, branch="main"),
        lambda api, repo: api.update_repo_settings(repo, private=True),
        lambda api, repo: api.super_squash_history(repo),
        lambda api, repo: api.move_repo(repo, "bob/stolen"),
        lambda api, repo: api.delete_repo(repo),
    ]
    for attempt in attempts:
        for api in (alice.api("read"), bob.api("read")):
            with pytest.raises(HfHubHTTPError, match="may only read"):
                attempt(api, mine)
        with pytest.raises(HfHubHTTPError, match="may change the repositories of 'bob' only"):
            attempt(bob.api(), mine)
        with pytest.raises(RepositoryNotFoundError):
            attempt(bob.api(), hidden)
    for name in (mine, hidden, "alice/new"):
        with pytest.raises(HfHubHTTPError, match=r"403.*may change the repositories of 'bob' only"):
            bob.api().create_repo(name)
    with pytest.raises(HfHubHTTPError, match="may only read"):
        alice.api("read").create_repo("alice/new")
    assert everything_in(alice.hub.root) == before


def test_an_owner_leaves_their_name_out_and_the_administrator_may_do_everything(alice: Owner) -> None:
    name = f"model-{next(NAMES)}"
    assert alice.api().create_repo(name, private=True).repo_id == f"alice/{name}"
    administrator = alice.hub.api
    assert administrator.model_info(f"alice/{name}").private
    administrator.upload_file(repo_id=f"alice/{name}", path_or_fileobj=b"x", path_in_repo="x.txt")
    newest = alice.api().list_repo_commits(f"alice/{name}")[0]
    assert newest.authors == ["local"]
    administrator.delete_repo(f"alice/{name}")
    assert not alice.api().repo_exists(f"alice/{name}")


def test_a_repository_is_made_private_and_public_again(alice: Owner, nobody: HfApi) -> None:
    repo_id = alice.repo(private=False)
    nobody.list_repo_files(repo_id)
    alice.api().update_repo_settings(repo_id, private=True)
    assert (alice.api().model_info(repo_id).private, nobody.repo_exists(repo_id)) == (True, False)
    alice.api().update_repo_settings(repo_id, visibility="public")
    (listed,) = nobody.list_models(search=repo_id)
    assert (listed.private, nobody.model_info(repo_id).private) == (False, False)
    with pytest.raises(HfHubHTTPError, match="no gated repositories"):
        alice.api().update_repo_settings(repo_id, gated="auto")
    assert alice.api().create_repo(repo_id, private=True, exist_ok=True).repo_id == repo_id
    assert nobody.repo_exists(repo_id)


@pytest.mark.parametrize("damage", [b"", b"[hub]\n\tvisibility = Public\n", b"[hub\n", b"\xff\0=[", None])
def test_a_repository_whose_visibility_cannot_be_read_is_private(
    alice: Owner, nobody: HfApi, damage: bytes | None
) -> None:
    repo_id = alice.repo(private=False)
    assert nobody.repo_exists(repo_id)
    config = alice.hub.git_dir(repo_id) / "config"
    whole = config.read_bytes()
    config.unlink()
    if damage is not None:
        config.write_bytes(damage)
    try:
        assert not nobody.repo_exists(repo_id)
        # It stands in the way of no other, and its owner is told what to do.
        assert repo_id not in {model.id for model in alice.api().list_models(author="alice")}
        with pytest.raises(HfHubHTTPError, match="serve fsck"):
            alice.api().model_info(repo_id)
    finally:
        config.write_bytes(whole)
    assert nobody.repo_exists(repo_id)


def test_by_basic_one_may_read_but_not_write(alice: Owner) -> None:
    hidden = alice.repo(private=True)
    client, path = alice.hub.client, f"/{hidden}/resolve/main/.gitattributes"
    assert client.get(path, auth=("alice", alice.read)).status_code == 200
    for wrong in (("alice", "x"), (alice.read, ""), ("alice", "")):
        assert client.get(path, auth=wrong).status_code == 404
    for bad in ("Basic", "Basic ???", "Basic /w==", "Digest x", "Bearer", "Bearer \u00e9"):
        assert client.get(path, headers={"Authorization": bad.encode("latin-1")}).status_code == 404
    made = client.post(f"/api/models/{hidden}/branch/x", json={}, auth=("alice", alice.write))
    assert (made.status_code, "may only read" in made.json()["error"]) == (403, True)


def test_knowing_the_sha256_of_a_private_file_does_not_give_its_content(alice: Owner, bob: Owner) -> None:
    content = hashlib.shake_128(b"private weights").digest(2_000_000)
    sha256 = hashlib.sha256(content).hexdigest()
    hidden, theirs = alice.repo(private=True), bob.repo(private=False)
    alice.api().upload_file(repo_id=hidden, path_or_fileobj=content, path_in_repo="w.bin")
    as_bob = LocalHub(
        type(bob.hub.address)(bob.hub.url, bob.write, bob.hub.address.pid),
        bob.hub.root,
        bob.api(),
        bob.hub.client,
    )
    line = {
        "key": "lfsFile",
        "value": {"path": "w.bin", "algo": "sha256", "oid": sha256, "size": len(content)},
    }
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
    verified = {"oid": sha256, "size": len(content)}
    headers = {"Authorization": f"Bearer {bob.write}"}
    for attempt in (line, file_line("w.bin", pointer.encode())):
        answer = commit(as_bob, theirs, attempt)
        assert (answer.status_code, "was not uploaded to this Hub" in answer.json()["error"]) == (400, True)
    verify = f"/api/models/{theirs}/verify-large-file"
    assert bob.hub.client.post(verify, json=verified, headers=headers).status_code == 404
    # The address is asked for as if the file were not there; with the content in hand it may be used.
    address = upload_address(as_bob, theirs, sha256, len(content))
    assert (
        bob.hub.client.put(address.replace(f"bob%2F{theirs[4:]}", hidden), content=content).status_code == 403
    )
    assert bob.hub.client.put(address, content=content).status_code == 200
    assert bob.hub.client.post(verify, json=verified, headers=headers).status_code == 200
    assert commit(as_bob, theirs, line).status_code == 200
    assert bob.hub.client.get(f"/{theirs}/resolve/main/w.bin").content == content
