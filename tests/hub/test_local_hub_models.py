import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session, paginate
from local_hub_case import LocalHub

CARD = """---
license: apache-2.0
language: [en, de]
library_name: transformers
pipeline_tag: fill-mask
base_model: google-bert/bert-base-uncased
base_model_relation: quantized
tags: [sparse, {tag}]
released: 2026-01-02
odd: ["\\uD800", .nan, !!binary aGk=, {1: 2}]
---
# Model
"""


def push_card(hub: LocalHub, repo_id: str, text: str) -> str:
    return hub.api.upload_file(repo_id=repo_id, path_or_fileobj=text.encode(), path_in_repo="README.md").oid


def test_model_info_tells_what_the_card_and_the_files_say(local_hub: LocalHub, repo_id: str) -> None:
    local_hub.api.upload_file(repo_id=repo_id, path_or_fileobj=b"w" * 9, path_in_repo="a/model.safetensors")
    sha = push_card(local_hub, repo_id, CARD.replace("{tag}", "info"))
    info = local_hub.api.model_info(repo_id, files_metadata=True)
    assert (info.id, info.author, info.sha, info.private) == (repo_id, "org", sha, False)
    assert (info.library_name, info.pipeline_tag) == ("transformers", "fill-mask")
    assert info.card_data.license == "apache-2.0"
    assert info.tags == [
        *("transformers", "fill-mask", "sparse", "info", "en", "de"),
        "base_model:google-bert/bert-base-uncased",
        "base_model:quantized:google-bert/bert-base-uncased",
        "license:apache-2.0",
    ]
    siblings = {sibling.rfilename: sibling for sibling in info.siblings}
    assert set(siblings) == {".gitattributes", "README.md", "a/model.safetensors"}
    assert siblings["a/model.safetensors"].size == 9
    # printf wwwwwwwww | sha256sum
    assert siblings["a/model.safetensors"].lfs.sha256 == (
        "6e39047ec64324a71b78a25f151d158ddae8316e0fb02f7fa14eb2f70e2b4c9f"
    )
    assert info.last_modified >= info.created_at.replace(microsecond=0)


def test_models_are_found_by_words_author_and_tags(local_hub: LocalHub, new_repo: Callable[[], str]) -> None:
    api = local_hub.api
    ids = [new_repo() for _ in range(3)]
    for repo_id, tag in zip(ids, ["find-a", "find-a", "find-b"], strict=True):
        push_card(local_hub, repo_id, CARD.replace("{tag}", tag))
    api.create_repo("Other-Org/Findable-Bert")

    def found(**query: object) -> set[str]:
        return {model.id for model in api.list_models(**query)}

    assert found(filter="find-a") == set(ids[:2])
    assert found(filter=["find-a", "license:apache-2.0"]) == set(ids[:2])
    assert found(filter=["find-a", "find-b"]) == set()
    assert found(search="findable BERT") == {"Other-Org/Findable-Bert"}
    assert found(author="Other-Org") == {"Other-Org/Findable-Bert"}
    assert found(pipeline_tag="fill-mask", search=ids[0]) == {ids[0]}
    assert next(iter(api.list_models(sort="created_at"))).id == "Other-Org/Findable-Bert"
    with pytest.raises(HfHubHTTPError, match="does not keep that"):
        found(sort="downloads")
    with pytest.raises(HfHubHTTPError, match="this Hub selects by"):
        found(inference="warm")


def test_pages_of_a_list_join_to_the_whole_without_gaps_or_repeats(
    local_hub: LocalHub, new_repo: Callable[[], str]
) -> None:
    for _ in range(5):
        new_repo()
    address = f"{local_hub.url}/api/models"
    headers = {"Authorization": f"Bearer {local_hub.token}"}
    whole = [model.id for model in local_hub.api.list_models()]
    paged = [model["id"] for model in paginate(address, params={"limit": 2}, headers=headers)]
    assert len(whole) >= 5
    assert paged == whole


def test_pages_of_a_tree_and_of_a_history_join_to_the_whole(local_hub: LocalHub, repo_id: str) -> None:
    for number in range(5):
        local_hub.api.upload_file(
            repo_id=repo_id, path_or_fileobj=b"%d" % number, path_in_repo=f"f/{number}.txt"
        )
    address = f"{local_hub.url}/api/models/{repo_id}"
    tree = paginate(f"{address}/tree/main", params={"limit": 2, "recursive": "true"}, headers={})
    names = [f"f/{number}.txt" for number in range(5)]
    assert [entry["path"] for entry in tree] == [".gitattributes", "f", *names]
    commits = [commit["title"] for commit in paginate(f"{address}/commits/main", {"limit": 2}, headers={})]
    assert commits == [f"Upload {name} with huggingface_hub" for name in reversed(names)] + ["initial commit"]


def test_trees_and_paths_are_described(local_hub: LocalHub, repo_id: str) -> None:
    api = local_hub.api
    first = api.upload_file(repo_id=repo_id, path_or_fileobj=b"hello\n", path_in_repo="d/hello.txt")
    second = api.upload_file(repo_id=repo_id, path_or_fileobj=b"x", path_in_repo="d/other.txt")
    entries = {entry.path: entry for entry in api.list_repo_tree(repo_id, "d", expand=True)}
    # git hash-object of "hello\n"
    assert entries["d/hello.txt"].blob_id == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert entries["d/hello.txt"].last_commit.oid == first.oid
    assert entries["d/other.txt"].last_commit.oid == second.oid
    described = api.get_paths_info(repo_id, ["d", "d/hello.txt", "nowhere", "d/hello.txt/below"])
    assert [entry.path for entry in described] == ["d", "d/hello.txt"]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(repo_id, "nowhere"))


def test_what_is_missing_is_told_apart(local_hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    api = local_hub.api
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/nothing")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("bert-base-uncased", "config.json", endpoint=local_hub.url, cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo_id, revision="nothing")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(repo_id, "nothing.txt", endpoint=local_hub.url, cache_dir=tmp_path)
    assert api.file_exists(repo_id, ".gitattributes")
    assert not api.file_exists(repo_id, "nothing.txt")


def test_branches_and_tags_come_and_go(local_hub: LocalHub, repo_id: str) -> None:
    api = local_hub.api
    head = api.model_info(repo_id).sha
    api.create_branch(repo_id, branch="x/y")
    api.create_branch(repo_id, branch="x/y", exist_ok=True)
    api.create_tag(repo_id, tag="v1", revision="x/y", tag_message="noted")
    api.create_tag(repo_id, tag="v2")
    api.create_tag(repo_id, tag="v2", exist_ok=True)
    refs = api.list_repo_refs(repo_id)
    assert [(ref.name, ref.ref, ref.target_commit) for ref in refs.branches] == [
        ("main", "refs/heads/main", head),
        ("x/y", "refs/heads/x/y", head),
    ]
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", head), ("v2", head)]
    for name in ("x", "x/y/z", "v1", "a..b", "-x", "refs/heads/q", "f" * 40, "x.lock", "é"):
        with pytest.raises(HfHubHTTPError, match=r"cannot|already exists"):
            api.create_branch(repo_id, branch=name)
    with pytest.raises(HfHubHTTPError, match="its default branch"):
        api.delete_branch(repo_id, branch="main")
    api.delete_branch(repo_id, branch="x/y")
    api.create_branch(repo_id, branch="x")
    api.delete_tag(repo_id, tag="v1")
    refs = api.list_repo_refs(repo_id)
    assert [ref.name for ref in refs.branches + refs.tags] == ["main", "x", "v2"]
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(repo_id, tag="v1")


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("a: [1", "no valid YAML"),
        ("- a\n- b", "must be a mapping"),
        ("tags: sparse", "'tags' must be a list of texts"),
        ("language: 3", "'language' must be a text, or a list of them"),
        ("a: &x [1]\nb: *x", "aliases"),
    ],
)
def test_a_card_with_bad_metadata_is_refused_before_and_in_a_commit(
    local_hub: LocalHub, repo_id: str, metadata: str, problem: str
) -> None:
    card = f"---\n{metadata}\n---\ntext"
    head = local_hub.api.model_info(repo_id).sha
    with pytest.raises(ValueError, match=problem):
        push_card(local_hub, repo_id, card)
    answer = get_session().post(f"{local_hub.url}/api/validate-yaml", json={"content": card})
    assert answer.status_code == 400
    assert problem in answer.json()["errors"][0]["message"]
    # The client's folder upload does not check a card by itself: the commit has to.
    content = b64encode(card.encode()).decode()
    lines = [
        {"key": "header", "value": {"summary": "a card"}},
        {"key": "file", "value": {"content": content, "path": "README.md", "encoding": "base64"}},
    ]
    answer = get_session().post(
        f"{local_hub.url}/api/models/{repo_id}/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers={"Authorization": f"Bearer {local_hub.token}"},
    )
    assert answer.status_code == 400
    assert problem in answer.json()["error"]
    assert local_hub.api.model_info(repo_id).sha == head


def test_a_good_card_is_read_back_by_the_client(local_hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    text = CARD.replace("{tag}", "by-card")
    push_card(local_hub, repo_id, text)
    path = hf_hub_download(repo_id, "README.md", endpoint=local_hub.url, cache_dir=tmp_path)
    assert ModelCard.load(path).data.license == "apache-2.0"
