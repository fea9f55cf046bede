import hashlib
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from cutting_proxy import cutting_proxy
from local_hub_case import LocalHub
from packaging_case import RECIPE, dense_contents, locked_model, tiny_contents

from sparsezoo_hub.core.recipe_text import parse_recipe
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


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense package that no test may change."""
    folder = tmp_path_factory.mktemp("dense") / "package"
    write_package(folder, dense_contents())
    return folder


def test_a_dense_package_travels_like_any_other(dense: Path, local_hub: LocalHub, tmp_path: Path) -> None:
    push_package(dense, "org/dense", endpoint=local_hub.url, token=local_hub.token)
    manifest = pull_package("org/dense", tmp_path / "pulled", endpoint=local_hub.url)
    assert manifest.is_dense
    assert hashes(tmp_path / "pulled") == hashes(dense)
    assert local_hub.api.model_info("org/dense").library_name == "transformers"
    assert not {"sparse", "pruned", "pattern-lock"} & set(local_hub.api.model_info("org/dense").tags)


def test_a_published_pattern_is_not_replaced_by_a_dense_model(
    written: Path, dense: Path, local_hub: LocalHub
) -> None:
    sparse = push_package(written, "org/kept", endpoint=local_hub.url, token=local_hub.token)
    with pytest.raises(
        PackageError, match=r"push to org/kept: tiny-dense is dense, tiny-90 .* a locked pattern"
    ):
        push_package(dense, "org/kept", endpoint=local_hub.url, token=local_hub.token)
    assert local_hub.api.model_info("org/kept").sha == sparse.commit
    local_hub.api.create_branch("org/kept", branch="dense", revision=sparse.commit)
    with pytest.raises(PackageError, match="push to another repository or branch"):
        push_package(dense, "org/kept", endpoint=local_hub.url, token=local_hub.token, revision="dense")


def test_a_published_target_is_not_lowered_but_may_be_raised(
    written: Path, dense: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    push_package(dense, "org/raised", endpoint=local_hub.url, token=local_hub.token)
    push_package(written, "org/raised", endpoint=local_hub.url, token=local_hub.token)
    weaker = tmp_path / "weaker"
    text = RECIPE.replace("final_sparsity: 0.9,", "final_sparsity: 0.8995,")  # by less than one element
    write_package(weaker, replace(tiny_contents(), recipe=parse_recipe(text, "recipe.yaml")))
    with pytest.raises(PackageError, match=r"has the target 0\.8995, tiny-90 in its place 0\.9,"):
        push_package(weaker, "org/raised", endpoint=local_hub.url, token=local_hub.token)
    push_package(weaker, "org/weaker", endpoint=local_hub.url, token=local_hub.token)
    push_package(written, "org/weaker", endpoint=local_hub.url, token=local_hub.token)


def test_files_that_are_no_package_promise_nothing(dense: Path, local_hub: LocalHub, repo_id: str) -> None:
    local_hub.api.upload_file(path_or_fileobj=b"{}", path_in_repo="manifest.json", repo_id=repo_id)
    pushed = push_package(dense, repo_id, endpoint=local_hub.url, token=local_hub.token)
    assert local_hub.api.model_info(repo_id).sha == pushed.commit


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
