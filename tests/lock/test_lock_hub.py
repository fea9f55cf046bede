"""A locked model on a Hub: pushed by transformers itself, loaded again by any way that it offers."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guarded_hub import guarded_hub

from sparsezoo_hub.hub.local_hub.process import HubAddress, running_hub

pytestmark = pytest.mark.slow  # it starts a process for each life

HERE = Path(__file__).parent
Outcomes = dict[str, dict[str, Any]]

SIDE = {"revision": "side", "subfolder": "deep/down"}
LOCAL = {"local_files_only": True}
# What is loaded: the repository, the arguments of from_pretrained, and what was published there.
LOADS: dict[str, tuple[str, dict[str, Any], str]] = {
    "main": ("org/pushed", {}, "org/pushed"),
    "branch": ("org/pushed", {"revision": "sparser"}, "org/pushed@sparser"),
    "older-commit": ("org/pushed", {"revision": "FIRST"}, "org/pushed@FIRST"),
    "shards": ("org/shards", {}, "org/shards"),
    "trainer": ("org/trained", {}, "org/trained"),
    "subfolder": ("org/nested", {"subfolder": "students/inner"}, "org/nested:students/inner"),
    "mask-file": ("org/untold", {}, "org/untold@main:"),
    "mask-file-of-a-branch-and-subfolder": ("org/untold", SIDE, "org/untold@side:deep/down"),
}


@dataclass(frozen=True)
class Published:
    root: Path
    token: str
    models: Outcomes
    loaded: Outcomes  # by a fresh process without a token
    cache: Path
    first: str  # the first commit of org/pushed


def run_life(*arguments: object, **environment: object) -> None:
    without = {
        name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")
    }
    completed = subprocess.run(
        [sys.executable, str(HERE / "hub_life.py"), *map(str, arguments)],
        env={**without, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]


# Each life has an HF_HOME of its own, so that no token of whoever runs the tests helps.
def load(folder: Path, cases: list[tuple[str, str, dict[str, Any]]], **environment: object) -> Outcomes:
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    run_life("load", folder / "cases.json", folder / "found.json", HF_HOME=folder / "home", **environment)
    return dict(json.loads((folder / "found.json").read_text()))


def cases(first: str, **more: object) -> list[tuple[str, str, dict[str, Any]]]:
    def named(arguments: dict[str, Any]) -> dict[str, Any]:
        return {name: first if value == "FIRST" else value for name, value in arguments.items()}

    return [(name, repo_id, {**named(arguments), **more}) for name, (repo_id, arguments, _) in LOADS.items()]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("hub-life")
    cache = folder / "cache"
    with running_hub(folder / "hub") as address:
        run_life("publish", folder, **endpoint(address), HF_HOME=folder / "home", HF_TOKEN=address.token)
        models = json.loads((folder / "published.json").read_text())
        first = next(name for name in models if name.startswith("org/pushed@") and "sparser" not in name)
        commit = first.removeprefix("org/pushed@")
        again = [(f"{name} again", repo_id, {**rest, **LOCAL}) for name, repo_id, rest in cases(commit)]
        loaded = load(folder, cases(commit) + again, **endpoint(address), HF_HUB_CACHE=cache)
    return Published(folder / "hub", address.token, models, loaded, cache, commit)


def endpoint(address: HubAddress) -> dict[str, str]:
    return {"HF_ENDPOINT": address.url}


@pytest.fixture(scope="module")
def offline(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """From the cache alone: with the switch, and at an address that nobody serves."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and not listened on
        return load(
            tmp_path_factory.mktemp("offline"),
            cases(published.first),
            HF_ENDPOINT=f"http://127.0.0.1:{nobody.getsockname()[1]}",
            HF_HUB_CACHE=published.cache,
            HF_HUB_OFFLINE=1,
        )


@dataclass(frozen=True)
class Guarded:
    found: Outcomes
    refused: list[str]  # paths of the repositories that were asked for without the token
    served: list[str]


@pytest.fixture(scope="module")
def guarded(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    """With the token as an argument alone, from a Hub where readers need it too."""
    folder = tmp_path_factory.mktemp("guarded")
    with guarded_hub(published.root, published.token) as (url, guard):
        found = load(
            folder, cases(published.first, token=published.token), HF_ENDPOINT=url, HF_HUB_CACHE=folder / "a"
        )
        # The client's questions that concern no repository need no token.
        refused = [path for path in guard.refused if "/org/" in path]
        found |= load(
            folder,
            [
                ("without a token", "org/pushed", {}),
                # Weights that are trusted need no mask file: it is not in the cache afterwards.
                ("trusting", "org/untold", {**SIDE, "token": published.token, "trusting": True}),
                ("no mask file in the cache", "org/untold", {**SIDE, **LOCAL, "token": published.token}),
            ],
            HF_ENDPOINT=url,
            HF_HUB_CACHE=folder / "b",
        )
    return Guarded(found, refused, guard.served)


def expected(published: Published, case: str) -> dict[str, Any]:
    return published.models[LOADS[case][2].replace("FIRST", published.first)]


def test_what_is_pushed_from_a_process_locks_again_in_it(published: Published) -> None:
    assert published.models["loaded in the process that pushed"] == published.models["org/pushed"]


def test_the_published_patterns_differ(published: Published) -> None:
    """Else a load of the wrong revision or folder would go unnoticed."""
    patterns = [name for name in published.models if name not in ("org/shards", "org/trained")]
    digests = {published.models[name]["digest"] for name in patterns}
    assert len(digests) == len(patterns) - 1  # what was loaded again is what was pushed
    assert len({each["zeros"] for each in published.models.values()}) >= len(digests)


@pytest.mark.parametrize("case", LOADS)
def test_a_fresh_process_locks_the_same_weights_and_zeros(case: str, published: Published) -> None:
    assert expected(published, case)["is_locked"]
    assert published.loaded[case] == expected(published, case)


@pytest.mark.parametrize("case", LOADS)
def test_local_files_alone_are_enough_once_they_are_cached(case: str, published: Published) -> None:
    assert published.loaded[f"{case} again"] == expected(published, case)


@pytest.mark.parametrize("case", LOADS)
def test_a_cached_model_locks_without_any_hub(case: str, published: Published, offline: Outcomes) -> None:
    assert offline[case] == expected(published, case)


@pytest.mark.parametrize("case", LOADS)
def test_the_token_given_as_an_argument_fetches_everything(
    case: str, published: Published, guarded: Guarded
) -> None:
    assert guarded.found[case] == expected(published, case)


def test_no_request_lacks_the_token_that_was_given(guarded: Guarded) -> None:
    assert guarded.refused == []
    assert any(path.endswith("deep/down/masks.safetensors") for path in guarded.served)
    assert guarded.found["without a token"]["error"] == "OSError"


def test_local_files_alone_without_the_mask_file_are_refused_and_nothing_is_fetched(guarded: Guarded) -> None:
    assert guarded.found["trusting"]["is_locked"]
    refusal = guarded.found["no mask file in the cache"]
    assert refusal["error"] == "MaskError"
    assert "masks.safetensors is not in the cache" in refusal["message"]
    assert "local_files_only" in refusal["message"]
    assert "\n" not in refusal["message"]
