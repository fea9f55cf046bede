"""Everything that the client does with model repositories; runs against any Hub, see conftest.py."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from local_hub_case import LocalHub, run_client
from safetensors.torch import save_file
from torch import zeros

CARD = "---\nlicense: mit\ntags:\n- sparse\n---\n# A model\n"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    (folder / "onnx").mkdir()
    (folder / "README.md").write_text(CARD)
    (folder / "config.json").write_text('{"a": 1}')
    save_file({"w": zeros(4, 5)}, folder / "model.safetensors")
    (folder / "onnx" / "model.onnx").write_bytes(os.urandom(2_000))
    return folder


@pytest.fixture(scope="module")
def pushed(local_hub: LocalHub, new_repo: Callable[[], str], package: Path) -> str:
    """A repository that no test changes."""
    repo_id = new_repo()
    local_hub.api.upload_folder(repo_id=repo_id, folder_path=package, commit_message="All of it")
    return repo_id


def names(api: HfApi, repo_id: str, revision: str = "main") -> list[str]:
    return [name for name in api.list_repo_files(repo_id, revision=revision) if name != ".gitattributes"]


def test_what_is_there_and_what_is_not_is_told(local_hub: LocalHub, pushed: str) -> None:
    api = local_hub.api
    missing = f"{pushed}-not"
    assert (api.repo_exists(pushed), api.repo_exists(missing)) == (True, False)
    assert [api.revision_exists(pushed, name) for name in ("main", "not", "refs/pr/1")] == [
        True,
        False,
        False,
    ]
    assert [api.file_exists(pushed, name) for name in ("config.json", "onnx/model.onnx", "onnx", "not")] == [
        *(True, True),
        *(False, False),
    ]
    assert not api.file_exists(pushed, "config.json", revision="not")
    api.auth_check(pushed)
    api.auth_check(pushed, write=True)
    with pytest.raises(HfHubHTTPError):
        api.auth_check(missing)
    assert pushed in [repo.id for repo in api.list_user_repos(pushed.split("/", maxsplit=1)[0])]


def test_a_tree_tells_sizes_digests_and_last_commits(local_hub: LocalHub, pushed: str, package: Path) -> None:
    api = local_hub.api
    expected = ["README.md", "config.json", "model.safetensors", "onnx/model.onnx"]
    assert names(api, pushed) == expected
    tree = {entry.path: entry for entry in api.list_repo_tree(pushed, recursive=True, expand=True)}
    for name in expected:
        entry = tree[name]
        assert isinstance(entry, RepoFile)
        assert entry.size == (package / name).stat().st_size
        assert entry.last_commit is not None
        assert entry.last_commit.title == "All of it"
    assert [entry.path for entry in api.list_repo_tree(pushed, "onnx")] == ["onnx/model.onnx"]
    described = api.get_paths_info(pushed, ["onnx", "config.json", "not"], expand=True)
    assert sorted(entry.path for entry in described) == ["config.json", "onnx"]
    checked = api.verify_repo_checksums(pushed, local_dir=package)
    assert (checked.mismatches, checked.checked_count) == ([], 4)
    weights = api.get_safetensors_metadata(pushed).files_metadata["model.safetensors"].tensors["w"]
    assert (weights.dtype, weights.shape) == ("F32", [4, 5])


@pytest.mark.parametrize(
    "field",
    ["author", "cardData", "createdAt", "lastModified", "private", "sha", "siblings", "tags"],
)
def test_a_model_is_described_with_the_field_that_is_asked_for(
    local_hub: LocalHub, pushed: str, field: str
) -> None:
    info = local_hub.api.model_info(pushed, expand=[field])  # type: ignore[list-item]
    assert info.id == pushed
    named = {"cardData": "card_data", "createdAt": "created_at", "lastModified": "last_modified"}
    assert getattr(info, named.get(field, field)) is not None


def test_branches_and_tags_come_and_go_and_history_stays_until_it_is_squashed(
    local_hub: LocalHub, repo_id: str
) -> None:
    api = local_hub.api
    for text in (b"1", b"2", b"3"):
        api.upload_file(
            repo_id=repo_id, path_or_fileobj=text, path_in_repo="a.txt", commit_message=f"{text!r}"
        )
    commits = api.list_repo_commits(repo_id)
    assert [commit.title for commit in commits[:3]] == ["b'3'", "b'2'", "b'1'"]
    assert commits[0].authors == [api.whoami()["name"]]
    api.create_branch(repo_id, branch="old/one", revision=commits[2].commit_id)
    api.create_branch(repo_id, branch="old/one", exist_ok=True)
    api.create_tag(repo_id, tag="v1", tag_message="first", revision="old/one")
    refs = api.list_repo_refs(repo_id)
    assert {branch.name: branch.target_commit for branch in refs.branches} == {
        "main": commits[0].commit_id,
        "old/one": commits[2].commit_id,
    }
    assert [tag.name for tag in refs.tags] == ["v1"]
    api.super_squash_history(repo_id, commit_message="One")
    assert [commit.title for commit in api.list_repo_commits(repo_id)] == ["One"]
    assert names(api, repo_id) == ["a.txt"]
    api.delete_branch(repo_id, branch="old/one")
    api.delete_tag(repo_id, tag="v1")
    for revision in ("old/one", "v1"):
        with pytest.raises(RevisionNotFoundError):
            api.model_info(repo_id, revision=revision)
    with pytest.raises(HfHubHTTPError):
        api.super_squash_history(repo_id, branch="not")


def test_files_are_sent_beforehand_copied_and_deleted_by_pattern(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api = local_hub.api
    content = os.urandom(2_000_000)
    operation = CommitOperationAdd("a.bin", content)
    api.preupload_lfs_files(repo_id, [operation])
    api.create_commit(repo_id, [operation, CommitOperationAdd("b.txt", b"b")], commit_message="Add")
    copies = [CommitOperationCopy("a.bin", "c/a.bin"), CommitOperationCopy("b.txt", "c/b.txt")]
    api.create_commit(repo_id, copies, commit_message="Copy")
    copied = api.hf_hub_download(repo_id, "c/a.bin", cache_dir=tmp_path)
    assert Path(copied).read_bytes() == content
    api.delete_files(repo_id, ["*.bin"])
    assert names(api, repo_id) == ["b.txt", "c/b.txt"]
    api.delete_folder("c", repo_id)
    api.delete_file("b.txt", repo_id)
    assert names(api, repo_id) == []


def test_what_was_downloaded_is_not_downloaded_again_and_is_there_without_the_hub(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api = local_hub.api

    def download(**options: bool) -> Path:
        return Path(api.hf_hub_download(repo_id, "a.txt", cache_dir=tmp_path, **options))

    with pytest.raises(LocalEntryNotFoundError):
        download(local_files_only=True)
    api.upload_file(repo_id=repo_id, path_or_fileobj=b"old", path_in_repo="a.txt")
    first = download()
    # The same content: its file is used again, whatever it holds by now.
    first.resolve().write_bytes(b"mine")
    api.upload_file(repo_id=repo_id, path_or_fileobj=b"b", path_in_repo="b.txt")
    second = download()
    assert (second.parent != first.parent, second.read_bytes()) == (True, b"mine")
    assert download(local_files_only=True) == second
    api.upload_file(repo_id=repo_id, path_or_fileobj=b"new", path_in_repo="a.txt")
    assert download(local_files_only=True).read_bytes() == b"mine"
    assert download().read_bytes() == b"new"
    assert download(force_download=True).read_bytes() == b"new"


def test_a_repository_is_hidden_copied_moved_and_deleted(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api, nobody = local_hub.api, HfApi(endpoint=local_hub.url, token=False)
    oid = api.upload_file(repo_id=repo_id, path_or_fileobj=os.urandom(2_000_000), path_in_repo="a.bin").oid
    api.create_pull_request(repo_id, "Later")
    api.create_tag(repo_id, tag="v1")
    api.update_repo_settings(repo_id, private=True)
    assert (api.repo_exists(repo_id), nobody.repo_exists(repo_id)) == (True, False)
    copy = api.duplicate_repo(repo_id, f"{repo_id}-copy", private=True).repo_id
    assert not nobody.repo_exists(copy)
    info = api.model_info(copy, revision="v1")
    assert (copy, info.sha) == (f"{repo_id}-copy", oid)
    assert list(api.get_repo_discussions(copy)) == []
    assert api.list_repo_refs(copy, include_pull_requests=True).pull_requests == []
    with pytest.raises(HfHubHTTPError) as refusal:
        api.duplicate_repo(repo_id, copy)
    assert refusal.value.response.status_code == 409
    assert api.duplicate_repo(repo_id, copy, exist_ok=True).repo_id == copy
    api.delete_repo(repo_id)
    api.move_repo(copy, f"{repo_id}-moved")
    there = api.hf_hub_download(f"{repo_id}-moved", "a.bin", cache_dir=tmp_path)
    assert Path(there).stat().st_size == 2_000_000
    api.delete_repo(f"{repo_id}-moved")


def test_cards_and_the_file_system_speak_to_the_hub_of_the_environment(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    code = f"""
from huggingface_hub import HfFileSystem, ModelCard, metadata_update
repo_id = {repo_id!r}
card = ModelCard({CARD!r})
card.validate()
card.push_to_hub(repo_id)
metadata_update(repo_id, {{"tags": ["dense"]}}, overwrite=True)
assert ModelCard.load(repo_id).data.to_dict() == {{"license": "mit", "tags": ["dense"]}}
print(metadata_update(repo_id, {{"license": "apache-2.0"}}, overwrite=True, create_pr=True))
files = HfFileSystem()
files.pipe_file(f"{{repo_id}}/a/b.txt", b"text")
files.cp_file(f"{{repo_id}}/a/b.txt", f"{{repo_id}}/c.txt")
files.rm(f"{{repo_id}}/a/b.txt")
assert files.cat_file(f"{{repo_id}}/c.txt") == b"text"
assert b"apache-2.0" in files.cat_file(f"{{repo_id}}@refs/pr/1/README.md")
assert f"{{repo_id}}/c.txt" in files.ls(repo_id, detail=False)
"""
    done = run_client(local_hub, sys.executable, "-c", code, HF_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert local_hub.api.get_discussion_details(repo_id, 1).status == "open"


def test_the_command_line_speaks_to_the_hub_of_the_environment(
    local_hub: LocalHub, repo_id: str, package: Path, tmp_path: Path
) -> None:
    def hf(*arguments: str, **env: str) -> str:
        command = str(Path(sys.executable).with_name("hf"))
        done = run_client(local_hub, command, *arguments, HF_HOME=str(tmp_path / "home"), **env)
        assert done.returncode == 0, f"{arguments}: {done.stdout} {done.stderr}"
        return done.stdout

    weights = str(package / "model.safetensors")
    hf("upload", repo_id, str(package), ".")
    hf("upload", repo_id, weights, "copy.safetensors", "--create-pr", HF_HUB_DISABLE_XET="1")
    assert "new file mode" in hf("discussions", "diff", repo_id, "1")
    hf("discussions", "reopen", repo_id, "1", "--yes", "--comment", "Ready")
    hf("discussions", "merge", repo_id, "1", "--yes")
    hf("repos", "tag", "create", repo_id, "v1")
    owner = repo_id.split("/", maxsplit=1)[0]
    assert repo_id in hf("repos", "list", "--namespace", owner, "--limit", "1000")
    hf("download", repo_id, "--revision", "refs/pr/1", "--local-dir", str(tmp_path / "there"))
    assert (tmp_path / "there" / "copy.safetensors").read_bytes() == Path(weights).read_bytes()
    hf("download", repo_id, "--revision", "v1", HF_HUB_DISABLE_XET="1")
    hf("download", repo_id, "copy.safetensors", "--revision", "v1", HF_HUB_OFFLINE="1")
    hf("cache", "verify", repo_id, "--revision", "v1")
    assert local_hub.api.list_repo_commits(repo_id)[0].title.endswith("(#1)")
