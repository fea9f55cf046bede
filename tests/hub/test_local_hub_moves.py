from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from local_hub_case import LocalHub, send
from owner_case import NAMES, Owner, make_owner

from sparsezoo_hub.hub.local_hub.repositories import Repositories


@pytest.fixture(scope="module")
def dora(local_hub: LocalHub) -> Owner:
    return make_owner(local_hub, "dora")


def new_name() -> str:
    return f"dora/moved-{next(NAMES)}"


def test_a_moved_repository_is_found_by_both_of_its_ids(dora: Owner, tmp_path: Path) -> None:
    old, new, api = dora.repo(private=False), new_name(), dora.api()
    api.upload_file(repo_id=old, path_or_fileobj=b"x" * 2_000_000, path_in_repo="d/w.bin")
    api.create_tag(old, tag="v/1")
    head = api.model_info(old).sha
    api.move_repo(old, new)
    for repo_id in (old, new):
        info = api.model_info(repo_id, revision="v/1", files_metadata=True)
        assert (info.id, info.sha) == (new, head)
        assert api.list_repo_tree(repo_id, "d").__next__().path == "d/w.bin"
        path = api.hf_hub_download(repo_id, "d/w.bin", revision="v/1", cache_dir=tmp_path / repo_id)
        assert Path(path).read_bytes() == b"x" * 2_000_000
        made = api.upload_file(repo_id=repo_id, path_or_fileobj=repo_id.encode(), path_in_repo="by.txt")
        assert api.model_info(new).sha == made.oid
        assert Path(
            api.snapshot_download(repo_id, cache_dir=tmp_path / "all", allow_patterns="*.txt")
        ).is_dir()
    found = [model.id for model in api.list_models(author="dora")]
    assert (new in found, old in found) == (True, False)


def test_every_address_of_the_old_id_leads_to_the_same_of_the_new(local_hub: LocalHub) -> None:
    # Names that occur elsewhere in addresses as well.
    local_hub.api.create_repo("s/s")
    local_hub.api.move_repo("s/s", "org/resolve")
    for address, expected in {
        "/api/models/s/s": "/api/models/org/resolve",
        "/api/models/s/s/tree/main?recursive=true": "/api/models/org/resolve/tree/main?recursive=true",
        "/api/models/%73/s/refs": "/api/models/org/resolve/refs",
        "/s/s/resolve/main/s/s?download=1": "/org/resolve/resolve/main/s/s?download=1",
        "/s/s.git/info/refs?service=git-upload-pack": "/org/resolve.git/info/refs?service=git-upload-pack",
    }.items():
        answer = send(local_hub, "GET", address)
        assert (answer.status_code, answer.headers["Location"]) == (307, expected)


def test_a_move_to_an_id_that_is_taken_or_not_ones_own_is_refused(dora: Owner) -> None:
    repo_id, other, api = dora.repo(private=False), dora.repo(private=True), dora.api()
    with pytest.raises(HfHubHTTPError, match="which exists: choose another name"):
        api.move_repo(repo_id, other)
    for target in ("org/taken-over", "../x", "dora/..", "api/x"):
        with pytest.raises((HfHubHTTPError, ValueError)):
            api.move_repo(repo_id, target)
    for body in ({"fromRepo": repo_id}, {"fromRepo": repo_id, "toRepo": 5}, {"fromRepo": "x", "toRepo": "y"}):
        assert send(dora.hub, "POST", "/api/repos/move", json=body).status_code == 400
    with pytest.raises(HfHubHTTPError, match="404"):
        api.move_repo(new_name(), new_name())
    assert api.model_info(repo_id).id == repo_id


def test_an_old_id_tells_strangers_nothing_of_a_private_repository(dora: Owner) -> None:
    old, new = dora.repo(private=True), new_name()
    dora.api().move_repo(old, new)
    assert dora.api().model_info(old).id == new
    nobody = HfApi(endpoint=dora.hub.url, token=False)
    for repo_id in (old, new):
        with pytest.raises(RepositoryNotFoundError):
            nobody.model_info(repo_id)
    answer = dora.hub.client.get(f"/api/models/{old}")
    assert (answer.status_code, new in answer.text, "Location" in answer.headers) == (404, False, False)


def test_an_old_id_that_is_used_again_is_the_new_repositorys(dora: Owner) -> None:
    old, new, api = dora.repo(private=False), new_name(), dora.api()
    api.move_repo(old, new)
    api.create_repo(old)
    assert (api.model_info(old).id, api.model_info(new).id) == (old, new)
    api.delete_repo(old)
    assert not api.repo_exists(old)
    api.move_repo(new, old)
    assert [api.model_info(repo_id).id for repo_id in (old, new)] == [old, old]
    further = new_name()
    api.move_repo(old, further)
    assert [api.model_info(repo_id).id for repo_id in (old, new, further)] == [further] * 3
    api.delete_repo(further)
    assert [api.repo_exists(repo_id) for repo_id in (old, new, further)] == [False] * 3


def test_a_kill_in_the_middle_of_a_move_leaves_the_repository_at_its_old_or_its_new_id(
    tmp_path: Path,
) -> None:
    """What is on the disk before and after each step of a move reads as one of both."""
    repositories = Repositories(tmp_path)
    repositories.prepare()
    repositories.create("a/old")
    (tmp_path / "moved" / "a").mkdir(parents=True)
    (tmp_path / "moved" / "a" / "old").write_text("b/new")
    assert (repositories.ids(), repositories.moved_to("a/old")) == (["a/old"], None)
    (tmp_path / "models" / "b").mkdir()
    assert (repositories.ids(), repositories.moved_to("a/old")) == (["a/old"], None)
    (tmp_path / "models" / "a" / "old.git").rename(tmp_path / "models" / "b" / "new.git")
    assert (repositories.ids(), repositories.moved_to("a/old")) == (["b/new"], "b/new")
    assert not repositories.is_private("b/new")
    # A note that leads in a circle, or nowhere, leads nowhere.
    (tmp_path / "models" / "b" / "new.git").rename(tmp_path / "gone")
    for note in ("b/new", "", "\0", "b", "../../b/new", "é"):
        (tmp_path / "moved" / "a" / "old").write_text(note)
        assert repositories.moved_to("a/old") is None
    (tmp_path / "moved" / "a" / "old").write_text("b/new")
    (tmp_path / "moved" / "b").mkdir()
    (tmp_path / "moved" / "b" / "new").write_text("a/old")
    assert repositories.moved_to("a/old") is None


def test_a_client_that_follows_no_redirects_is_told_where_to_go(dora: Owner) -> None:
    old, new = dora.repo(private=False), new_name()
    dora.api().move_repo(old, new)
    with httpx2.Client(base_url=dora.hub.url) as client:
        assert client.get(f"/api/models/{old}").json()["error"] == f"{old} is {new} now"
