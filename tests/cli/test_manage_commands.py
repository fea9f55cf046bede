"""The verbs that publish and manage, against a Hub of one's own."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from sparsezoo_hub.hub.local_hub.process import HubAddress, running_hub
from sparsezoo_hub.packaging.verify import verify_package

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces"),
    pytest.mark.usefixtures("own_cache"),
]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubAddress]:
    with running_hub(tmp_path_factory.mktemp("hub") / "hub") as address:
        yield address


@pytest.fixture
def at(hub: HubAddress) -> tuple[str, ...]:
    return ("--endpoint", hub.url, "--token", hub.token)


@pytest.fixture(scope="module")
def published(hub: HubAddress, written: Path) -> str:
    """A repository with the package's files on main and on staging."""
    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo("org/published")
    api.upload_folder(repo_id="org/published", folder_path=written)
    api.create_branch("org/published", branch="staging")
    return "org/published"


def answer(result: tuple[int, str, str]) -> dict[str, object]:
    code, out, err = result
    assert code == 0, err
    return dict(json.loads(out))


def refusal(result: tuple[int, str, str]) -> str:
    code, _, err = result
    assert code == 1
    assert "Traceback" not in err
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    return line


def test_a_package_is_pushed_with_a_tag_and_pulled_compactly(
    run: Run, at: tuple[str, ...], hub: HubAddress, written: Path, tmp_path: Path
) -> None:
    pushed = answer(run("push", written, "org/model", "--tag", "v1", *at, "--json"))
    assert (pushed["repo_id"], pushed["revision"], pushed["tags"]) == ("org/model", "main", ["v1"])
    code, out, _ = run("pull", "org/model", tmp_path / "pulled", "--revision", "v1", "--compact", *at)
    assert code == 0
    assert "times less)" in out
    assert all(check.ok for check in verify_package(tmp_path / "pulled"))
    pulled = answer(run("pull", "org/model", tmp_path / "again", *at, "--json"))
    assert pulled["commit"] == pushed["commit"]
    assert pulled["ratio"] == 1.0
    assert "choose another folder" in refusal(run("pull", "org/model", tmp_path / "again", *at))
    lower = Path(shutil.copytree(written, tmp_path / "lower"))
    (lower / "masks.safetensors").unlink()
    assert "or push it as it is with --force" in refusal(run("push", lower, "org/model", *at))


def test_two_packages_are_compared(
    run: Run, at: tuple[str, ...], published: str, written: Path, tmp_path: Path
) -> None:
    code, out, _ = run("diff", f"{published}@main", written, *at)
    assert code == 0
    assert "every file is the same" in out
    other = Path(shutil.copytree(written, tmp_path / "other"))
    text = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(text.replace("A tiny BERT", "A [bold]small[/] BERT"))
    code, out, _ = run("diff", written, other)
    assert code == 0
    assert "-summary: A tiny BERT for tests." in out
    assert "+summary: A [bold]small[/] BERT for tests." in out
    diff = answer(run("diff", written, other, "--json"))
    assert (diff["jaccard"], diff["is_same"]) == (1.0, False)
    assert "has no such revision" in refusal(run("diff", f"{published}@never", written, *at))


def test_a_release_is_tagged_and_promoted(run: Run, at: tuple[str, ...], published: str) -> None:
    tagged = answer(run("tag", published, "v1", "--revision", "staging", *at, "--json"))
    assert (tagged["tag"], tagged["is_new"]) == ("v1", True)
    code, out, _ = run("promote", published, "--from", "staging", "--to", "main", *at)
    assert code == 0
    assert "main has the files of staging" in out
    promoted = answer(run("promote", published, "--to", "v2", *at, "--json"))
    assert (promoted["to"], promoted["commit"]) == ("v2", tagged["commit"])
    assert "no such revision" in refusal(run("promote", published, "--from", "nowhere", *at))


def test_a_model_is_deprecated_and_taken_back(
    run: Run, at: tuple[str, ...], hub: HubAddress, written: Path
) -> None:
    api = HfApi(endpoint=hub.url, token=hub.token)
    for name in ("org/old", "org/new"):
        api.create_repo(name)
        api.upload_file(path_or_fileobj=written / "README.md", path_in_repo="README.md", repo_id=name)
    done = answer(run("deprecate", "org/old", "--successor", "org/new", "--note", "<b>", *at, "--json"))
    assert (done["successor"], done["is_new"]) == ("org/new", True)
    code, out, _ = run("deprecate", "org/old", "--undo", *at)
    assert (code, "org/old is not deprecated" in out) == (0, True)
    assert "publish it first" in refusal(run("deprecate", "org/old", "--successor", "org/none", *at))
    assert run("deprecate", "org/old", *at)[0] == 2
    assert run("deprecate", "org/old", "--undo", "--note", "x", *at)[0] == 2


def test_an_owners_models_are_mirrored_and_one_failure_does_not_stop_the_others(
    run: Run, hub: HubAddress, tmp_path: Path
) -> None:
    api = HfApi(endpoint=hub.url, token=hub.token)
    for name in ("team/a", "team/b"):
        api.create_repo(name)
        api.upload_file(path_or_fileobj=name.encode(), path_in_repo="name.txt", repo_id=name)
    with running_hub(tmp_path / "hub") as other:
        there = (hub.url, other.url, "--dest-token", other.token)
        said = answer(run("mirror", *there, "--owner", "team", "--json"))
        assert said["failed"] == {}
        assert said["not_mirrored"] == ["history", "pull requests", "discussions"]
        code, out, err = run("mirror", *there, "team/none", "team/b")
        assert code == 1
        assert "team/b: branch main" in out
        assert "there already" in out
        assert "1 of 2 repositories mirrored" in out
        assert err.count("error: mirror of team/none") == 1
        assert run("mirror", *there)[0] == 2
