"""Mirrors between two Hubs of one's own."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cutting_proxy import counting_proxy
from huggingface_hub import CommitOperationAdd, HfApi, constants
from local_hub_case import LocalHub

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.contents import Stored, stored_files
from sparsezoo_hub.hub.local_hub.process import HubAddress, running_hub
from sparsezoo_hub.hub.mirror import Mirrored, mirror_ends, mirror_repository, mirrored_repositories

pytestmark = pytest.mark.usefixtures("own_cache")

LARGE = b"weights" * 30_000


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubAddress]:
    with running_hub(tmp_path_factory.mktemp("other") / "hub") as address:
        yield address


def put(api: HfApi, repo_id: str, branch: str = "main", **files: bytes) -> str:
    added = [CommitOperationAdd(name.replace("_", "."), content) for name, content in files.items()]
    return str(api.create_commit(repo_id, added, commit_message="more", revision=branch).oid)


def filled(api: HfApi, repo_id: str) -> None:
    """Two branches; a tag at the head of one, and one at an older commit."""
    api.create_repo(repo_id)
    old = put(api, repo_id, weights_safetensors=LARGE[::-1], notes_txt=b"old")
    api.create_tag(repo_id, tag="v1", revision=old)
    put(api, repo_id, weights_safetensors=LARGE, notes_txt=b"new")
    api.create_tag(repo_id, tag="v2")
    api.create_branch(repo_id, branch="staging")
    put(api, repo_id, "staging", notes_txt=b"newer")


def run(local_hub: LocalHub, other: HubAddress, repo_id: str, url: str | None = None) -> list[Mirrored]:
    ends = mirror_ends(local_hub.url, url or other.url, None, other.token)
    return mirror_repository(*ends, repo_id, lambda _: None)


def test_branches_and_tags_are_there_with_the_same_files(local_hub: LocalHub, other: HubAddress) -> None:
    repo_id = "org/mirrored"
    filled(local_hub.api, repo_id)
    mirrored = run(local_hub, other, repo_id)
    assert [(one.kind, one.name) for one in mirrored] == [
        ("branch", "main"),
        ("branch", "staging"),
        ("tag", "v1"),
        ("tag", "v2"),
    ]
    target = HfApi(endpoint=other.url)
    for one in mirrored:
        files = stored_files(local_hub.api, repo_id, one.name)
        assert stored_files(target, repo_id, one.name) == files
        assert set(files) == {"weights.safetensors", "notes.txt"}
    refs = target.list_repo_refs(repo_id)
    assert {branch.name for branch in refs.branches} == {"main", "staging"}
    heads = {branch.name: branch.target_commit for branch in refs.branches}
    assert {tag.name: tag.target_commit for tag in refs.tags}["v2"] == heads["main"]


def test_a_second_mirror_sends_nothing_and_a_change_sends_itself(
    local_hub: LocalHub, other: HubAddress
) -> None:
    repo_id = "org/mirrored-again"
    filled(local_hub.api, repo_id)
    first = run(local_hub, other, repo_id)
    with counting_proxy(other) as (endpoint, num_sent):
        second = run(local_hub, other, repo_id, endpoint)
        assert [one.commit for one in second] == [one.commit for one in first]
        assert [one.num_sent for one in second] == [0, 0, 0, 0]
        put(local_hub.api, repo_id, notes_txt=b"newest")
        third = run(local_hub, other, repo_id, endpoint)
        assert [one.num_sent for one in third] == [1, 0, 0, 0]
        assert num_sent() < 60_000 < len(LARGE)
    # v2 is no longer at the head of a branch, and still names the files of then.
    assert HfApi(endpoint=other.url).hf_hub_download(repo_id, "notes.txt", revision="v2")
    assert stored_files(HfApi(endpoint=other.url), repo_id, "v2") == stored_files(
        local_hub.api, repo_id, "v2"
    )


def test_a_mirror_that_was_broken_off_goes_on(local_hub: LocalHub, other: HubAddress) -> None:
    repo_id = "org/broken-off"
    filled(local_hub.api, repo_id)
    ends = mirror_ends(local_hub.url, other.url, None, other.token)

    def stop(one: Mirrored) -> None:
        if one.name == "staging":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mirror_repository(*ends, repo_id, stop)
    # As if killed while an older tag was carried over: its branch is there, the tag is not.
    ends[1].create_branch(repo_id, branch="mirror-of-v1")
    mirrored = run(local_hub, other, repo_id)
    assert [one.num_sent for one in mirrored[:2]] == [0, 0]
    target = HfApi(endpoint=other.url)
    assert {branch.name for branch in target.list_repo_refs(repo_id).branches} == {"main", "staging"}
    assert stored_files(target, repo_id, "v1") == stored_files(local_hub.api, repo_id, "v1")


def test_a_tag_of_other_files_is_not_moved(local_hub: LocalHub, other: HubAddress) -> None:
    repo_id = "org/other-tag"
    filled(local_hub.api, repo_id)
    run(local_hub, other, repo_id)
    local_hub.api.delete_tag(repo_id, tag="v1")
    local_hub.api.create_tag(repo_id, tag="v1")
    with pytest.raises(HubError, match=r"the tag v1 at .* names other files: delete it there"):
        run(local_hub, other, repo_id)


def test_files_that_only_one_hub_keeps_as_large_are_compared_by_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"small")
    said = subprocess.run(
        ["git", "hash-object", "file"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    small = Stored(5, None, said.stdout.strip())
    large = Stored(5, hashlib.sha256(b"small").hexdigest(), None)
    assert small.may_be(large) is None
    assert small.may_be(Stored(6, None, small.git_oid)) is False
    for stored in (small, large):
        assert stored.may_be(stored)
        assert stored.is_content_of(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"smalL")
    assert not any(stored.is_content_of(tmp_path / "file") for stored in (small, large))


def test_an_owner_without_models_two_equal_hubs_and_no_address_are_one_line(
    local_hub: LocalHub, other: HubAddress
) -> None:
    source, _ = mirror_ends(local_hub.url, other.url, None, None)
    with pytest.raises(HubError, match="shows no model of this owner"):
        mirrored_repositories(source, "nobody-at-all")
    with pytest.raises(HubError, match="to itself"):
        mirror_ends(local_hub.url, f"{local_hub.url}/", None, None)
    with pytest.raises(HubError, match=r"is no Hub's address: give one that begins with http://"):
        mirror_ends("localhost:1", local_hub.url, None, None)
    with pytest.raises(HubError, match="knows no such repository"):
        run(local_hub, other, "org/nothing-there")


def test_without_a_token_of_its_own_a_hub_gets_none(local_hub: LocalHub, other: HubAddress) -> None:
    ends = mirror_ends(local_hub.url, other.url, None, None)
    assert [end.token for end in ends] == [False, False]
    (known, _) = mirror_ends(constants.ENDPOINT, other.url, None, None)
    assert known.token is None  # the client's own, as ever
