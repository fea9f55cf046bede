from pathlib import Path

import pytest
from find_case import write_model, write_zoo
from huggingface_hub import constants, try_to_load_from_cache
from local_hub_case import LocalHub

from sparsezoo_hub.core.recipe_families import recipe_family
from sparsezoo_hub.errors import HubError, PackageError
from sparsezoo_hub.hub.model_facts import read_facts
from sparsezoo_hub.hub.search import Found, Wanted, search_models

TAGGED = b"---\ntags: [sparsezoo-hub]\n---\n"

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def zoo(local_hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four models of ``write_zoo``, one of them private, and four repositories that are no packages."""
    api, folders = local_hub.api, write_zoo(tmp_path_factory.mktemp("zoo"))
    for name, folder in folders.items():
        api.create_repo(f"zoo/{name}", private=name == "closed")
        api.upload_folder(repo_id=f"zoo/{name}", folder_path=folder)
    broken = {
        "bare": {},
        "empty": {"manifest.json": b"{}", "config.json": b"{}"},
        "deep": {"manifest.json": b"[" * 100_000, "config.json": b"{}"},
        "huge": {"manifest.json": b" " * (8 * 2**20 + 1), "config.json": b"{}"},
    }
    for name, files in broken.items():
        api.create_repo(f"zoo/{name}")
        for path, content in {"README.md": TAGGED, **files}.items():
            api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=f"zoo/{name}")
    return folders


def names(found: Found) -> set[str]:
    return {hit.facts.name.removeprefix("zoo/") for hit in found.hits}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {"dense", "sst2-90", "closed", "large"}),
        ({"words": ("SST2",)}, {"sst2-90"}),
        ({"words": ("sst2", "dense")}, set()),
        ({"family": "oberta"}, {"dense", "sst2-90", "closed"}),
        ({"family": "prune-ofa"}, set()),
        ({"architecture": "distilbert"}, {"large"}),
        ({"lowest": 0.8, "highest": 0.9}, {"sst2-90", "large"}),
        ({"lowest": 0.91}, {"closed"}),
        ({"highest": 0.0}, {"dense"}),
        ({"task": "MNLI"}, {"dense", "sst2-90"}),
        ({"task": "token-classification"}, {"large"}),
        ({"quantized": True}, {"sst2-90"}),
        ({"largest": 10_000}, {"dense", "sst2-90", "closed"}),
        ({"parent": "org/upstream"}, {"sst2-90"}),
        ({"parent": "org/upstream", "task": "sst2", "architecture": "roberta"}, {"sst2-90"}),
    ],
    ids=lambda each: str(sorted(each) if isinstance(each, set) else each),
)
def test_what_is_found_is_what_was_asked_for(
    zoo: dict[str, Path], local_hub: LocalHub, wanted: dict[str, object], expected: set[str]
) -> None:
    found = search_models(Wanted(author="zoo", **wanted), endpoint=local_hub.url, token=local_hub.token)
    assert names(found) == expected


def test_a_private_model_is_found_by_those_who_may_read_it(zoo: dict[str, Path], local_hub: LocalHub) -> None:
    wanted = Wanted(author="zoo", family="oberta")
    found = search_models(wanted, endpoint=local_hub.url, token=local_hub.token)
    assert {hit.facts.name: hit.private for hit in found.hits}["zoo/closed"] is True
    assert names(search_models(wanted, endpoint=local_hub.url, token=False)) == {"dense", "sst2-90"}


def test_what_is_no_package_is_counted_and_nothing_large_is_fetched_of_it(
    zoo: dict[str, Path], local_hub: LocalHub
) -> None:
    found = search_models(Wanted(author="zoo"), endpoint=local_hub.url, token=local_hub.token)
    assert found.left_out == {
        "without manifest.json": 1,
        "with a manifest.json or config.json that cannot be used": 3,
    }
    cached = {
        name: try_to_load_from_cache(
            f"zoo/{name}", "manifest.json", revision=local_hub.api.model_info(f"zoo/{name}").sha
        )
        for name in ("deep", "huge")
    }
    assert isinstance(cached["deep"], str)
    assert cached["huge"] is None


def test_the_last_changed_come_first_and_more_than_asked_for_is_said(
    zoo: dict[str, Path], local_hub: LocalHub
) -> None:
    def search(limit: int) -> Found:
        return search_models(Wanted(author="zoo"), endpoint=local_hub.url, token=local_hub.token, limit=limit)

    listed = [each.id for each in local_hub.api.list_models(author="zoo", sort="last_modified")]
    places = [listed.index(hit.facts.name) for hit in search(4).hits]
    assert places == sorted(places)
    assert (len(search(2).hits), search(2).more) == (2, True)
    assert (len(search(4).hits), search(4).more) == (4, False)


def test_the_facts_are_those_of_manifest_config_and_card(zoo: dict[str, Path], local_hub: LocalHub) -> None:
    facts = read_facts("zoo/sst2-90", endpoint=local_hub.url)
    weights = (zoo["sst2-90"] / "model.safetensors").stat().st_size
    told = facts.to_dict()
    assert told["sizes"] == {"weights": weights, "gzip": 700, "compact": 100, "onnx": 1000, "int8": 300}
    assert {key: told[key] for key in ("sparsity", "target", "pruned_weights", "zeros", "dense")} == {
        "sparsity": 0.9, "target": 0.9, "pruned_weights": 200, "zeros": 180, "dense": False,
    }  # fmt: skip
    assert (told["family"], told["model_type"]) == ("oberta", "roberta")
    assert told["architecture"] == "RobertaForSequenceClassification"
    assert told["quantization"] == "quantization-aware training"
    assert told["commit"] == local_hub.api.model_info("zoo/sst2-90").sha
    assert [(each["dataset"], each["split"], each["mean"]) for each in told["results"]] == [
        ("sst2", "validation", 0.9),
        ("mnli", "validation", 0.8),
        ("sst2", "test", 0.91),
    ]
    assert told["successor"] is None
    assert read_facts("zoo/dense", endpoint=local_hub.url).successor == "org/better"
    folder = read_facts(str(zoo["sst2-90"])).to_dict()
    assert {**folder, "id": told["id"], "commit": told["commit"]} == told


def test_a_model_is_read_as_it_was_at_a_revision(local_hub: LocalHub, tmp_path: Path) -> None:
    api = local_hub.api
    api.create_repo("zoo2/changing")
    for tag, zeros in (("v1", (50, 60)), ("v2", (70, 80))):
        folder = write_model(tmp_path / tag, name="changing", zeros=zeros)
        api.upload_folder(repo_id="zoo2/changing", folder_path=folder)
        api.create_tag("zoo2/changing", tag=tag)
    sparsities = [
        read_facts(f"zoo2/changing{at}", endpoint=local_hub.url).manifest.sparsity.overall
        for at in ("", "@v1", "@v2")
    ]
    assert sparsities == [0.75, 0.55, 0.75]
    with pytest.raises(HubError, match="has no such revision"):
        read_facts("zoo2/changing@v3", endpoint=local_hub.url)


def test_what_is_no_package_is_refused_in_one_line(zoo: dict[str, Path], local_hub: LocalHub) -> None:
    with pytest.raises(PackageError, match=r"zoo/bare is no package: manifest\.json is missing there"):
        read_facts("zoo/bare", endpoint=local_hub.url)
    with pytest.raises(HubError, match="knows no such repository"):
        read_facts("zoo/nothing", endpoint=local_hub.url)
    with pytest.raises(HubError, match="no/such/folder"):
        read_facts("no/such/folder", endpoint=local_hub.url)


def test_without_a_network_the_cache_is_searched(
    zoo: dict[str, Path], local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_models(Wanted(author="zoo"), endpoint=local_hub.url, token=local_hub.token)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = search_models(Wanted(author="zoo", words=("SST2",), lowest=0.9))
    assert [hit.facts.name for hit in found.hits] == ["zoo/sst2-90"]
    assert (found.hits[0].private, found.asked) == (None, None)
    assert search_models(Wanted(author="others")).hits == ()
    assert read_facts("zoo/dense").manifest.is_dense
    with pytest.raises(HubError, match="not in the cache, and HF_HUB_OFFLINE is set"):
        read_facts("zoo/unseen")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("oberta-base-90", "oberta"),
        ("squad-oberta-small-90-int8", "oberta"),
        ("org/obert-base-90", "oberta"),
        ("roberta-base-squad-gmp-90", None),
        ("prune-ofa-distilbert-85", "prune-ofa"),
        ("Sparse*BERT", "sparse-bert"),
        ("org-sparse-bert-base-90-sst2", "sparse-bert"),
        ("minilm-l6-90", "minilm"),
        ("bert-tiny-90", None),
    ],
)
def test_a_name_tells_its_family(name: str, family: str | None) -> None:
    assert recipe_family(name) == family


def test_the_nearest_name_that_tells_a_family_decides() -> None:
    assert recipe_family("my-model", None, "oberta/base-90", "org/prune-ofa") == "oberta"
