import hashlib
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from cutting_proxy import cutting_proxy
from local_hub_case import LocalHub
from packaging_case import locked_model, tiny_contents

from sparsezoo_hub.errors import HubError, PackageError, VerificationError
from sparsezoo_hub.hub.local_hub.process import running_hub
from sparsezoo_hub.hub.pull import pull_package
from sparsezoo_hub.hub.push import push_package
from sparsezoo_hub.hub.snapshot import local_folder
from sparsezoo_hub.packaging.package import write_package

pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".gitattributes"
    }


def test_what_is_pulled_is_what_was_pushed_byte_for_byte(
    written: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    pushed = push_package(written, "org/tiny", endpoint=local_hub.url, token=local_hub.token)
    commits = local_hub.api.list_repo_commits("org/tiny")
    assert pushed.commit == commits[0].commit_id
    pull_package("org/tiny", tmp_path / "pulled", endpoint=local_hub.url)
    assert hashes(tmp_path / "pulled") == hashes(written)


def test_a_second_push_of_the_same_package_makes_no_commit(written: Path, local_hub: LocalHub) -> None:
    first = push_package(written, "org/twice", endpoint=local_hub.url, token=local_hub.token)
    second = push_package(written, "org/twice", endpoint=local_hub.url, token=local_hub.token)
    assert first.commit == second.commit


def test_a_wrong_token_is_one_line_that_says_what_to_do(written: Path, local_hub: LocalHub) -> None:
    with pytest.raises(HubError, match=r"push to org/secret: .* refuses the token .*--token") as caught:
        push_package(written, "org/secret", endpoint=local_hub.url, token="hf_wrong")  # noqa: S106
    assert "\n" not in str(caught.value)
    assert not local_hub.api.repo_exists("org/secret")


def test_a_changed_package_is_not_pushed(written: Path, local_hub: LocalHub, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(written, tmp_path / "changed"))
    (changed / "recipe.yaml").write_text((changed / "recipe.yaml").read_text() + "# later\n")
    with pytest.raises(VerificationError, match=r"recipe\.yaml"):
        push_package(changed, "org/changed", endpoint=local_hub.url, token=local_hub.token)
    assert not local_hub.api.repo_exists("org/changed")


def test_a_hub_that_is_gone_is_one_line_and_nothing_is_left(written: Path, tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as address:
        push_package(written, "org/before", endpoint=address.url, token=address.token)
        os.kill(address.pid, signal.SIGKILL)
        with pytest.raises(HubError, match="does not answer") as caught:
            push_package(written, "org/after", endpoint=address.url, token=address.token)
        assert "\n" not in str(caught.value)
        with pytest.raises(HubError, match="does not answer"):
            pull_package("org/before", tmp_path / "pulled", endpoint=address.url)
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize("num_bytes", [5_000, 100_000], ids=["at the start", "in the commit"])
def test_a_hub_that_stops_in_the_middle_of_a_push_keeps_its_old_revision(
    written: Path, local_hub: LocalHub, tmp_path: Path, num_bytes: int
) -> None:
    repo_id = f"org/cut-{num_bytes}"
    before = push_package(written, repo_id, endpoint=local_hub.url, token=local_hub.token)
    other = tmp_path / "other"
    write_package(other, replace(tiny_contents(), model=locked_model("bert-classifier")))
    host, port = local_hub.url.removeprefix("http://").split(":")
    with (
        cutting_proxy((host, int(port)), num_bytes) as endpoint,
        pytest.raises(HubError, match="does not answer"),
    ):
        push_package(other, repo_id, endpoint=endpoint, token=local_hub.token)
    assert local_hub.api.model_info(repo_id).sha == before.commit


def test_pull_refuses_a_folder_that_exists(written: Path) -> None:
    with pytest.raises(PackageError, match="choose another folder"):
        pull_package("org/tiny", written)


def test_pull_of_a_repository_that_is_not_there_says_so(local_hub: LocalHub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="knows no such repository"):
        pull_package("org/nothing", tmp_path / "pulled", endpoint=local_hub.url)
    assert not (tmp_path / "pulled").exists()


def test_a_repository_that_is_no_package_is_refused_and_leaves_nothing(
    local_hub: LocalHub, tmp_path: Path, repo_id: str
) -> None:
    local_hub.api.upload_file(path_or_fileobj=b"hello", path_in_repo="hello.txt", repo_id=repo_id)
    with pytest.raises(VerificationError):
        pull_package(repo_id, tmp_path / "pulled", endpoint=local_hub.url)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_its_own_snapshot(written: Path) -> None:
    assert local_folder(str(written)) == written
