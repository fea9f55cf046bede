import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import (
    CommitOperationCopy,
    CommitOperationDelete,
    snapshot_download,
)
from huggingface_hub.utils._runtime import is_xet_available
from local_hub_case import LocalHub, git, stored

CARD = "---\nlicense: mit\ntags: [sparse]\n---\n# A model\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "onnx").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "empty.txt").touch()
    (folder / "model.safetensors").write_bytes(os.urandom(3_000_000))
    (folder / "onnx" / "model.onnx").write_bytes(os.urandom(2_000))
    (folder / "onnx" / "ünï cödé + %2F.txt").write_text("x")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts and path.name != ".gitattributes"
    }


def downloaded(hub: LocalHub, repo_id: str, to: Path, revision: str | None = None) -> dict[str, bytes]:
    snapshot_download(repo_id, revision=revision, endpoint=hub.url, local_dir=to)
    return contents(to)


def run_client(hub: LocalHub, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, **env}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_unmodified_client_with_xet_on_pushes_and_gets_back_the_same_bytes(
    local_hub: LocalHub, repo_id: str, package: Path, tmp_path: Path
) -> None:
    assert is_xet_available()
    pushed = local_hub.api.upload_folder(repo_id=repo_id, folder_path=package)
    assert pushed.oid == local_hub.api.model_info(repo_id).sha
    assert downloaded(local_hub, repo_id, tmp_path / "back") == contents(package)


def test_large_files_are_stored_under_their_sha256_with_a_pointer_in_git(
    local_hub: LocalHub, repo_id: str, package: Path
) -> None:
    local_hub.api.upload_folder(repo_id=repo_id, folder_path=package)
    weights = (package / "model.safetensors").read_bytes()
    sha256 = hashlib.sha256(weights).hexdigest()
    assert stored(local_hub.root, sha256).read_bytes() == weights
    expected = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize 3000000\n"
    assert git(local_hub.git_dir(repo_id), "show", "main:model.safetensors") == expected


def test_a_client_with_xet_off_pushes_by_lfs_and_only_once(
    local_hub: LocalHub, repo_id: str, package: Path, tmp_path: Path
) -> None:
    code = (
        "from huggingface_hub import HfApi, logging; logging.set_verbosity_debug();"
        "push = HfApi(headers={'X-Upload-Mode': 'lfs'}).upload_folder;"
        f"push(repo_id={repo_id!r}, folder_path={str(package)!r});"
        f"push(repo_id={repo_id!r}, folder_path={str(package)!r})"
    )
    done = run_client(local_hub, code, HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("model.safetensors: Upload successful") == 1
    assert len(local_hub.api.list_repo_commits(repo_id)) == 2
    assert downloaded(local_hub, repo_id, tmp_path / "back") == contents(package)


def test_a_client_with_xet_off_and_no_header_pushes_too(
    local_hub: LocalHub, repo_id: str, package: Path, tmp_path: Path
) -> None:
    code = (
        "from huggingface_hub import HfApi;"
        f"HfApi().upload_folder(repo_id={repo_id!r}, folder_path={str(package)!r})"
    )
    done = run_client(local_hub, code, HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr
    assert downloaded(local_hub, repo_id, tmp_path / "back") == contents(package)


def test_a_file_too_large_for_a_client_with_xet_fails_at_once_and_says_what_to_set(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    before = local_hub.api.model_info(repo_id).sha
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate((512 << 20) + 1)
    with pytest.raises(ConnectionError, match="HF_HUB_DISABLE_XET=1-to-push-files-over-512-MiB"):
        local_hub.api.upload_folder(repo_id=repo_id, folder_path=tmp_path, allow_patterns="huge.safetensors")
    assert local_hub.api.model_info(repo_id).sha == before


def test_pushing_the_same_again_makes_no_commit(local_hub: LocalHub, repo_id: str, package: Path) -> None:
    first = local_hub.api.upload_folder(repo_id=repo_id, folder_path=package)
    again = local_hub.api.upload_folder(repo_id=repo_id, folder_path=package)
    assert again.oid == first.oid
    assert len(local_hub.api.list_repo_commits(repo_id)) == 2


def test_a_changed_file_of_the_same_size_is_sent(local_hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    for content in (b"a" * 2_000_000, b"b" * 2_000_000):
        local_hub.api.upload_file(repo_id=repo_id, path_or_fileobj=content, path_in_repo="w.bin")
        assert downloaded(local_hub, repo_id, tmp_path / "back") == {"w.bin": content}


def test_an_older_revision_can_be_downloaded_by_commit_branch_and_tag(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api = local_hub.api
    old = api.upload_file(repo_id=repo_id, path_or_fileobj=b"old", path_in_repo="a/b.txt")
    api.create_branch(repo_id, branch="feature/x", revision=old.oid)
    api.create_tag(repo_id, tag="v1", tag_message="the first")
    api.upload_file(repo_id=repo_id, path_or_fileobj=b"new", path_in_repo="a/b.txt")
    for number, revision in enumerate([old.oid, "feature/x", "v1", "refs/tags/v1"]):
        assert downloaded(local_hub, repo_id, tmp_path / str(number), revision) == {"a/b.txt": b"old"}
    assert downloaded(local_hub, repo_id, tmp_path / "main") == {"a/b.txt": b"new"}


def test_files_and_folders_are_deleted_and_what_is_not_there_is_refused(
    local_hub: LocalHub, repo_id: str, package: Path, tmp_path: Path
) -> None:
    api = local_hub.api
    api.upload_folder(repo_id=repo_id, folder_path=package)
    api.delete_file("config.json", repo_id)
    api.delete_folder("onnx", repo_id)
    left = downloaded(local_hub, repo_id, tmp_path / "back")
    assert set(left) == {"README.md", "empty.txt", "model.safetensors"}
    head = api.model_info(repo_id).sha
    for operation in (CommitOperationDelete("nothing.txt"), CommitOperationDelete("onnx/")):
        with pytest.raises(Exception, match="with this name doesn't exist"):
            api.create_commit(repo_id, [operation], commit_message="x")
    assert api.model_info(repo_id).sha == head


def test_files_are_copied_within_a_repository(
    local_hub: LocalHub, repo_id: str, package: Path, tmp_path: Path
) -> None:
    local_hub.api.upload_folder(repo_id=repo_id, folder_path=package)
    copies = [CommitOperationCopy("model.safetensors", "b.bin"), CommitOperationCopy("config.json", "c.json")]
    local_hub.api.create_commit(repo_id, copies, commit_message="copy")
    back = downloaded(local_hub, repo_id, tmp_path / "back")
    assert back["b.bin"] == back["model.safetensors"]
    assert back["c.json"] == back["config.json"]


def test_what_gitignore_names_is_not_uploaded(local_hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    (folder / "build").mkdir(parents=True)
    (folder / ".gitignore").write_text("# made by tools\nbuild/\n*.log\n")
    for name in ("build/x.txt", "a.log", "kept.txt"):
        (folder / name).write_text("x")
    local_hub.api.upload_folder(repo_id=repo_id, folder_path=folder)
    assert set(downloaded(local_hub, repo_id, tmp_path / "back")) == {".gitignore", "kept.txt"}


def test_a_repository_is_created_once_and_deleted(local_hub: LocalHub) -> None:
    api = local_hub.api
    assert api.create_repo("brief") == f"{local_hub.url}/local/brief"
    assert api.create_repo("local/brief", exist_ok=True).repo_id == "local/brief"
    with pytest.raises(Exception, match="'local/brief' already exists"):
        api.create_repo("local/brief")
    api.delete_repo("local/brief")
    assert not api.repo_exists("local/brief")
    api.delete_repo("local/brief", missing_ok=True)
    assert api.create_repo("local/brief").repo_id == "local/brief"


def test_what_this_hub_does_not_hold_is_refused_in_a_sentence(local_hub: LocalHub) -> None:
    with pytest.raises(Exception, match="holds model repositories only"):
        local_hub.api.create_repo("org/data", repo_type="dataset")
