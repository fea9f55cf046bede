import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cutting_proxy import counting_answers, counting_proxy, cutting_proxy, place
from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import RepoFile
from local_hub_case import LocalHub
from manage_case import hashes, variant

from sparsezoo_hub.errors import HubError, PackageError, VerificationError
from sparsezoo_hub.hub.local_hub.process import running_hub
from sparsezoo_hub.hub.pull import pull_package
from sparsezoo_hub.hub.push import push_package
from sparsezoo_hub.hub.snapshot import local_folder
from sparsezoo_hub.packaging.verify import verify_package

pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")

# A push without what comes before the upload, so that a process of its own is there quickly.
COMMIT = """
import sys
from pathlib import Path
from sparsezoo_hub.hub.one_commit import commit_files, hub_api
endpoint, token, folder, head = sys.argv[1:]
files = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
api = hub_api(endpoint, token)
commit_files(api, "org/killed", files, branch="main", parent=head, delete=(), message="never there")
"""


def listens(endpoint: str) -> bool:
    try:
        socket.create_connection(place(endpoint)).close()
    except OSError:
        return False
    return True


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


def test_a_hub_that_stops_in_the_middle_of_a_push_keeps_its_old_revision(
    written: Path, dense: Path, local_hub: LocalHub
) -> None:
    before = push_package(written, "org/cut", endpoint=local_hub.url, token=local_hub.token)
    with (
        cutting_proxy(local_hub.address, 5_000) as endpoint,
        pytest.raises(HubError, match="does not answer"),
    ):
        push_package(dense, "org/cut", endpoint=endpoint, token=local_hub.token, force=True)
    assert local_hub.api.model_info("org/cut").sha == before.commit


def test_a_dense_package_travels_like_any_other(dense: Path, local_hub: LocalHub, tmp_path: Path) -> None:
    push_package(dense, "org/dense", endpoint=local_hub.url, token=local_hub.token)
    pulled = pull_package("org/dense", tmp_path / "pulled", endpoint=local_hub.url)
    assert pulled.manifest.is_dense
    assert hashes(tmp_path / "pulled") == hashes(dense)
    assert local_hub.api.model_info("org/dense").library_name == "transformers"
    assert not {"sparse", "pruned", "pattern-lock"} & set(local_hub.api.model_info("org/dense").tags)


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


def test_a_push_again_sends_only_what_changed(written: Path, tmp_path: Path) -> None:
    card = {"README.md": ("# ", "# Once more: ")}
    changed = variant(written, tmp_path / "changed", card)
    with running_hub(tmp_path / "hub") as hub, counting_proxy(hub) as (endpoint, num_sent):
        push_package(written, "org/again", endpoint=endpoint, token=hub.token)
        everything = num_sent()
        assert everything > (written / "model.safetensors").stat().st_size
        push_package(changed, "org/again", endpoint=endpoint, token=hub.token)
        api = HfApi(endpoint=hub.url)
        first, second = (
            {
                entry.path: entry.blob_id
                for entry in api.list_repo_tree("org/again", recursive=True, revision=each)
                if isinstance(entry, RepoFile)
            }
            for each in [commit.commit_id for commit in api.list_repo_commits("org/again")][1::-1]
        )
        assert {name for name in second if second[name] != first.get(name)} == {"README.md", "manifest.json"}
    texts = sum((changed / name).stat().st_size for name in ("README.md", "manifest.json"))
    assert num_sent() - everything < 4 / 3 * texts + 30_000  # base64, and questions about every file


def test_what_a_killed_push_has_sent_is_not_sent_again(written: Path, tmp_path: Path) -> None:
    everything = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    largest = max(path.stat().st_size for path in written.rglob("*") if path.is_file())
    before_the_cut = 220_000
    assert largest < before_the_cut < everything
    with running_hub(tmp_path / "hub") as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        api.create_repo("org/killed")
        head = api.model_info("org/killed").sha
        with cutting_proxy(hub, before_the_cut) as endpoint:
            child = subprocess.Popen(
                [sys.executable, "-c", COMMIT, endpoint, hub.token, str(written), str(head)],
                stderr=subprocess.DEVNULL,
            )
            while listens(endpoint):
                assert child.poll() is None
                time.sleep(0.02)
            child.kill()
            child.wait()
        assert api.model_info("org/killed").sha == head
        with counting_proxy(hub) as (endpoint, num_sent):
            push_package(written, "org/killed", endpoint=endpoint, token=hub.token)
            tree = api.list_repo_tree("org/killed", "compact")
            compact = sum(entry.size for entry in tree if isinstance(entry, RepoFile))
            # Of what the first push has sent, one file at most was not complete; the rest are questions.
            assert num_sent() < everything + compact - (before_the_cut - largest) + 60_000
        pull_package("org/killed", tmp_path / "pulled", endpoint=hub.url)
    assert hashes(tmp_path / "pulled") == hashes(written)


def test_a_compact_pull_makes_the_same_files_of_less(
    written: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    push_package(written, "org/compact", endpoint=local_hub.url, token=local_hub.token)
    with counting_answers(local_hub.address) as (endpoint, num_received):
        pulled = pull_package("org/compact", tmp_path / "pulled", endpoint=endpoint, compact=True)
    assert hashes(tmp_path / "pulled") == hashes(written)
    whole = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    assert pulled.num_bytes == whole
    assert pulled.num_bytes_sent <= num_received() < pulled.num_bytes_sent + 60_000 < whole
    assert pulled.ratio == pytest.approx(whole / pulled.num_bytes_sent)


def test_a_plain_pull_and_a_snapshot_leave_the_compact_form_at_the_hub(
    written: Path, local_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    push_package(written, "org/plain", endpoint=local_hub.url, token=local_hub.token)
    assert "compact/model.safetensors" in local_hub.api.list_repo_files("org/plain")
    pull_package("org/plain", tmp_path / "pulled", endpoint=local_hub.url)
    for folder in (tmp_path / "pulled", local_folder("org/plain@main", endpoint=local_hub.url)):
        assert not (folder / "compact").exists()
        assert all(check.ok for check in verify_package(folder))


def test_a_repository_without_a_compact_form_says_so(
    dense: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    push_package(dense, "org/plainly-dense", endpoint=local_hub.url, token=local_hub.token)
    with pytest.raises(HubError, match=r"it has no compact form .* pull it without --compact"):
        pull_package("org/plainly-dense", tmp_path / "pulled", endpoint=local_hub.url, compact=True)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_compact_form_leaves_nothing(written: Path, local_hub: LocalHub, tmp_path: Path) -> None:
    push_package(written, "org/damaged", endpoint=local_hub.url, token=local_hub.token)
    name = "compact/model.onnx.safetensors"
    path = Path(local_hub.api.hf_hub_download("org/damaged", name, local_dir=tmp_path / "aside"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    local_hub.api.upload_file(path_or_fileobj=bytes(content), path_in_repo=name, repo_id="org/damaged")
    with pytest.raises(PackageError, match=r"expands to SHA-256 .* it promises"):
        pull_package("org/damaged", tmp_path / "to" / "pulled", endpoint=local_hub.url, compact=True)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_pull_goes_on_with_the_files_that_came_before(
    written: Path, local_hub: LocalHub, tmp_path: Path
) -> None:
    commit = push_package(written, "org/resumed", endpoint=local_hub.url, token=local_hub.token).commit
    # What a killed pull leaves: files that the client has come to the end of.
    partial = tmp_path / f".pulled-{commit}"
    (tmp_path / f".pulled-{'0' * 40}").mkdir()  # of another commit, and of no use any more
    for name in ("model.safetensors", "onnx/model.onnx"):
        local_hub.api.hf_hub_download("org/resumed", name, revision=commit, local_dir=partial)
    with counting_answers(local_hub.address) as (endpoint, num_received):
        pull_package("org/resumed", tmp_path / "pulled", endpoint=endpoint)
    assert num_received() < (written / "model.safetensors").stat().st_size + 60_000
    assert hashes(tmp_path / "pulled") == hashes(written)
    assert [path.name for path in tmp_path.iterdir()] == ["pulled"]


def test_a_push_can_propose_instead(written: Path, local_hub: LocalHub, tmp_path: Path) -> None:
    there = {"endpoint": local_hub.url, "token": local_hub.token}
    changed = variant(written, tmp_path / "changed", {"README.md": ("# ", "# Once more: ")})
    published = push_package(written, "org/proposed", **there)
    proposed = push_package(changed, "org/proposed", create_pr=True, **there)
    assert str(proposed.pull_request).endswith("org/proposed/discussions/1")
    assert local_hub.api.model_info("org/proposed").sha == published.commit
    pulled = pull_package("org/proposed", tmp_path / "pulled", revision="refs/pr/1", compact=True, **there)
    assert pulled.commit == proposed.commit
    assert hashes(tmp_path / "pulled") == hashes(changed)
    local_hub.api.merge_pull_request("org/proposed", 1)
    pull_package("org/proposed", tmp_path / "merged", **there)
    assert hashes(tmp_path / "merged") == hashes(changed)
    with pytest.raises(HubError, match="a pull request has no tags"):
        push_package(changed, "org/proposed", create_pr=True, tags=("v1",), **there)
    with pytest.raises(HubError, match="a pull request is against main, got the branch 'staging'"):
        push_package(changed, "org/proposed", create_pr=True, revision="staging", **there)


def test_a_private_package_is_for_who_may_see_it(
    written: Path, local_hub: LocalHub, tmp_path: Path, repo_id: str
) -> None:
    there = {"endpoint": local_hub.url, "token": local_hub.token}
    push_package(written, "org/private", private=True, **there)
    assert local_hub.api.model_info("org/private").private
    with pytest.raises(HubError, match="knows no such repository, or the token may not see it"):
        pull_package("org/private", tmp_path / "pulled", endpoint=local_hub.url)
    pull_package("org/private", tmp_path / "pulled", compact=True, **there)
    assert hashes(tmp_path / "pulled") == hashes(written)
    with pytest.raises(HubError, match="the repository is public already"):
        push_package(written, repo_id, private=True, **there)
    assert "model.safetensors" not in local_hub.api.list_repo_files(repo_id)
