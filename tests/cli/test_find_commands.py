import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from find_case import write_model, write_zoo
from huggingface_hub import HfApi

from sparsezoo_hub.core.recipe import Provenance
from sparsezoo_hub.core.recipe_text import recipe_text
from sparsezoo_hub.hub.local_hub.process import running_hub
from sparsezoo_hub.training.recipe_library import load_recipe

Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Zoo:
    """A Hub with models on it, and their folders by name."""

    url: str
    token: str
    folders: dict[str, Path]

    @property
    def options(self) -> tuple[str, ...]:
        return ("--endpoint", self.url, "--token", self.token)


@pytest.fixture(scope="module")
def zoo(own_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    """The models of ``write_zoo``, one private, and one that its recipe made in full."""
    root = tmp_path_factory.mktemp("zoo")
    folders = write_zoo(root)
    recipe = load_recipe("prune-ofa/bert-base-90")
    provenance = Provenance(parents={"backbone": "google-bert/bert-base-uncased"}, data={}, versions={})
    text = recipe_text(recipe.model_copy(update={"provenance": provenance}))
    folders["whole"] = write_model(root / "whole", name=recipe.name, files={"recipe.yaml": text.encode()})
    with running_hub(root / "hub") as address:
        api = HfApi(endpoint=address.url, token=address.token)
        for name, folder in folders.items():
            api.create_repo(f"zoo/{name}", private=name == "closed")
            api.upload_folder(repo_id=f"zoo/{name}", folder_path=folder)
        yield Zoo(address.url, address.token, folders)


def said(result: tuple[int, str, str]) -> str:
    """Everything that a command that succeeded wrote, on one line."""
    code, out, err = result
    assert (code, err) == (0, "")
    return " ".join(out.split())


def refused(result: tuple[int, str, str], code: int = 1) -> str:
    assert result[0] == code
    assert "Traceback" not in result[2]
    return " ".join(result[2].replace("│", " ").split())


def test_list_shows_every_model_of_an_owner(run: Run, zoo: Zoo) -> None:
    out = said(run("list", "zoo", *zoo.options))
    assert "zoo/closed private roberta sst2 accuracy 0.8800 0.9700 0.9 1.3 kB" in out
    assert "zoo/dense roberta sst2 accuracy 0.9400 dense –" in out  # noqa: RUF001
    assert "superseded by org/better" in out
    # The result on the test set stands for both of the data set's; markup in names is text.
    assert "sst2 accuracy 0.9100 test" in out
    assert "own [red]data[/] f1 0.7000" in out
    assert "5 models at http" in out
    assert "zoo/closed" not in said(run("list", "zoo", "--endpoint", zoo.url))
    assert "there are more" in said(run("list", "zoo", "--limit", 2, *zoo.options))
    assert "no models at http" in said(run("list", "nobody", *zoo.options))


def test_in_a_narrow_terminal_names_are_whole_and_what_is_text_stands_below_them(
    run: Run, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal, of 80 columns
    code, out, _ = run("list", "zoo", *zoo.options)
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert all(len(line) <= 80 for line in lines)
    start = next(index for index, line in enumerate(lines) if line.startswith("zoo/dense "))
    assert lines[start].split() == ["zoo/dense", "dense", "–", "1.3", "kB", "–", "2026-03-01"]  # noqa: RUF001
    assert lines[start + 1 : start + 5] == [
        "superseded by org/better", "roberta", "sst2 accuracy 0.9400", "mnli accuracy 0.8500",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sparsity", "0.8-0.95"], {"sst2-90", "large", "whole"}),
        (["--sparsity", "0.9"], {"sst2-90", "whole"}),
        (["--sparsity", "0.95-"], {"closed"}),
        (["--sparsity=-0.82"], {"dense", "large"}),
        (["--sparsity", "0"], {"dense"}),
        (["--max-size", "10kB"], {"dense", "sst2-90", "closed", "whole"}),
        (["--family", "obert", "--quantized"], {"sst2-90"}),
        (["sst2", "--architecture", "Roberta", "--task", "mnli", "--parent", "org/upstream"], {"sst2-90"}),
    ],
    ids=lambda each: str(sorted(each) if isinstance(each, set) else each),
)
def test_search_takes_what_is_wanted_in_words(
    run: Run, zoo: Zoo, arguments: list[str], expected: set[str]
) -> None:
    code, out, _ = run("search", *arguments, "--author", "zoo", "--json", *zoo.options)
    assert code == 0
    assert {each["id"].removeprefix("zoo/") for each in json.loads(out)["models"]} == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sparsity", "90"], "must be a range of fractions of zeros, 0.8-0.95 for example, got '90'"),
        (["--sparsity", "0.9-0.8"], "must be a range of fractions of zeros"),
        (["--sparsity", "-"], "must be a range of fractions of zeros"),
        (["--max-size", "big"], "must be a size, 100MB for example, got 'big'"),
        (["--family", "obret"], "did you mean 'oberta'?"),
    ],
    ids=lambda each: str(sorted(each) if isinstance(each, set) else each),
)
def test_search_refuses_what_it_does_not_understand(run: Run, arguments: list[str], message: str) -> None:
    assert message in refused(run("search", *arguments), code=2)


def test_info_shows_a_real_package_and_how_to_load_it(run: Run, written: Path) -> None:
    out = said(run("info", written))
    assert "A tiny BERT for tests." in out
    # 922 of each 1024 and 1382 of each 1536
    assert (
        f"{2 * (4 * 922 + 2 * 1382):,} of {2 * (4 * 1024 + 2 * 1536):,} entries of 12 pruned weights" in out
    )
    assert "encoder.layer.*.output.dense.weight 2 3,072 2,764 0.8997 0.8997 0.8997" in out
    assert "recipe tiny-90: teacher → student" in out
    assert "parts validation dense accuracy 0.9000 1" in out
    assert f"model = AutoModelForMaskedLM.from_pretrained('{written}')" in out
    told = json.loads(run("info", written, "--json")[1])
    embeddings = (120 + 64 + 2) * 32 + 64
    layer = 4 * (32 * 32 + 32) + 64 + 32 * 48 + 48 + 48 * 32 + 32 + 64
    head = 32 * 32 + 32 + 64 + 120  # its decoder is the embedding
    assert told["parameters"] == embeddings + 2 * layer + head
    assert told["files"].keys() >= {"model.safetensors", "masks.safetensors", "onnx/model.onnx"}


def test_info_of_a_revision_loads_that_revision(run: Run, zoo: Zoo) -> None:
    out = said(run("info", "zoo/sst2-90@main", *zoo.options))
    assert "AutoModelForSequenceClassification.from_pretrained('zoo/sst2-90', revision='main')" in out
    assert "subfolder='onnx-int8', revision='main'" in out
    assert "main branch" in out
    assert "superseded by org/better" in said(run("info", "zoo/dense", *zoo.options))
    assert "no such repository" in refused(run("info", "zoo/closed2", *zoo.options))


def test_compare_shows_models_side_by_side_and_draws_them(run: Run, zoo: Zoo, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    out = said(run("compare", "zoo/dense", zoo.folders["sst2-90"], "--plot", picture, *zoo.options))
    assert "sparsity dense 0.9000" in out
    assert "parameters 250 250" in out
    assert "not pruned away 250 70" in out
    assert "sst2 accuracy, validation 0.9400 ± 0.0020 0.9000 ± 0.0100 (-0.0400)" in out
    assert "mnli accuracy, validation 0.8500 0.8000 (-0.0500)" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_compare_says_when_there_is_nothing_to_compare(run: Run, zoo: Zoo, tmp_path: Path) -> None:
    models = (zoo.folders["dense"], zoo.folders["large"])
    assert "these models have no task in common" in said(run("compare", *models))
    three = said(run("compare", zoo.folders["dense"], zoo.folders["sst2-90"], zoo.folders["large"]))
    assert f"{zoo.folders['large'].name} has no task in common with" in three
    assert "is not drawn" in refused(run("compare", *models, "--plot", tmp_path / "none.png"))
    assert "needs two models or more" in refused(run("compare", zoo.folders["dense"]))


def test_catalog_has_the_models_of_the_papers_and_where_they_are(run: Run, zoo: Zoo) -> None:
    code, out, err = run("catalog", "--owner", "zoo", "--owner", "nobody", "--json", *zoo.options)
    assert (code, err) == (0, "")
    models = {each["recipe"]: each for each in json.loads(out)["models"]}
    # Prune OFA, section 6; Sparse*BERT, section 4.3; oBERTa, section 3
    assert {name: (each["model_type"], each["sparsity"]) for name, each in models.items()} == {
        "prune-ofa/bert-base-85": ("bert", 0.85),
        "prune-ofa/bert-base-90": ("bert", 0.9),
        "prune-ofa/bert-large-90": ("bert", 0.9),
        "prune-ofa/distilbert-85": ("distilbert", 0.85),
        "prune-ofa/distilbert-90": ("distilbert", 0.9),
        "sparse-bert/base-90": ("bert", 0.9),
        "sparse-bert/medical-90": ("bert", 0.9),
        "sparse-bert/biobert-90": ("bert", 0.9),
        "oberta/base": ("roberta", None),
        "oberta/base-90": ("roberta", 0.9),
        "oberta/base-95": ("roberta", 0.95),
        "oberta/medium": ("roberta", None),
        "oberta/medium-90": ("roberta", 0.9),
        "oberta/small": ("roberta", None),
        "oberta/small-90": ("roberta", 0.9),
    }
    # Prune OFA, table 2: SQuAD, MNLI, QQP, SST-2, QNLI; each in float and in int8
    tasks = [(each["task"], each["quantized"]) for each in models["prune-ofa/bert-base-85"]["on_tasks"]]
    assert sorted(tasks) == [
        (task, int8) for task in ("mnli", "qnli", "qqp", "squad-v1", "sst2") for int8 in (False, True)
    ]
    assert models["oberta/base-90"]["starts_from"] == "FacebookAI/roberta-base"
    places = {
        name: [(place["repo_id"], place["private"], place["complete"]) for place in each["published"]]
        for name, each in models.items()
        if each["published"]
    }
    assert places == {
        "prune-ofa/bert-base-90": [("zoo/whole", False, True)],
        "oberta/base": [("zoo/dense", False, False)],  # its recipe is another, and has no record of a run
        "oberta/base-95": [("zoo/closed", True, False)],
    }
    on_tasks = {
        task["recipe"]: [place["repo_id"] for place in task["published"]]
        for task in models["oberta/base-90"]["on_tasks"]
        if task["published"]
    }
    assert on_tasks == {"transfer/sst2:oberta-base-90": ["zoo/sst2-90"]}


def test_catalog_says_what_is_only_a_recipe(run: Run, zoo: Zoo) -> None:
    out = said(run("catalog", "--owner", "zoo", *zoo.options))
    assert "prune-ofa/bert-base-85 bert, from google-bert/bert-base-uncased 0.85 mnli, qnli, qqp" in out
    assert out.count("only a recipe") == 15 - 4
    assert "sst2: zoo/sst2-90 (not known to be of full size and length)" in out
    assert "zoo/closed (private, not known to be of full size and length)" in out
