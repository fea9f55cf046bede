import json
import shutil
from pathlib import Path

import pytest
import torch
from training_case import language_model
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertModel

from sparsezoo_hub.core.recipe import Parent
from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.backbones import make_backbone
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.python_documentation import read_topics

DOCUMENTS = read_topics()[:6]
CONFIG: dict[str, int | float | str | bool] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
FROM_NOTHING = Parent(model_type="bert", vocab_size=220, config=CONFIG)
ANY_BERT = Parent(model_type="bert", pretrained="some-org/some-bert")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone that no test may change."""
    folder = tmp_path_factory.mktemp("backbone")
    make_backbone(FROM_NOTHING, DOCUMENTS, folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def refused(backbone: Parent, folder: Path, override: str | None = None) -> str:
    """The message; it is one line, and nothing was written."""
    with pytest.raises(BackboneError) as caught:
        make_backbone(backbone, DOCUMENTS, folder, override)
    assert "\n" not in str(caught.value)
    assert not folder.exists()
    return str(caught.value)


def test_from_nothing_model_and_tokenizer_fit_each_other(finished: Path) -> None:
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(finished), AutoTokenizer.from_pretrained(finished)
    config = model.config.to_dict()
    assert {key: config[key] for key in CONFIG} == CONFIG
    assert model.config.model_type == "bert"
    assert len(tokenizer) == model.config.vocab_size == model.get_input_embeddings().num_embeddings == 220
    assert model.config.pad_token_id == tokenizer.pad_token_id == 0
    assert tokenizer.model_max_length == 40


def test_a_small_text_gives_a_model_of_the_smaller_vocabulary(tmp_path: Path) -> None:
    make_backbone(FROM_NOTHING.model_copy(update={"vocab_size": 30_000}), DOCUMENTS[:3], tmp_path)
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert 200 <= len(tokenizer) == model.get_input_embeddings().num_embeddings < 30_000


def test_from_nothing_twice_gives_the_same_weights(finished: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    make_backbone(FROM_NOTHING, DOCUMENTS, tmp_path)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize("as_override", [True, False])
def test_a_folder_is_taken_as_it_is_without_a_look_at_the_text(
    as_override: bool, finished: Path, tmp_path: Path
) -> None:
    backbone = ANY_BERT if as_override else ANY_BERT.model_copy(update={"pretrained": str(finished)})
    make_backbone(backbone, [Document("a", "x")], tmp_path, str(finished) if as_override else None)
    assert (tmp_path / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    text = "The assert statement"
    found = AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"]
    assert found == AutoTokenizer.from_pretrained(finished)(text)["input_ids"]


def test_half_precision_becomes_single(copied: Path, tmp_path: Path) -> None:
    AutoModelForMaskedLM.from_pretrained(copied, dtype=torch.bfloat16).save_pretrained(copied)
    assert AutoModelForMaskedLM.from_pretrained(copied).dtype == torch.bfloat16
    make_backbone(ANY_BERT, DOCUMENTS, tmp_path / "out", str(copied))
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "out").dtype == torch.float32


def test_another_architecture_is_refused_with_both_names(tmp_path: Path) -> None:
    language_model("distilbert").save_pretrained(tmp_path / "model")
    message = refused(ANY_BERT, tmp_path / "out", str(tmp_path / "model"))
    assert "is a distilbert, the recipe is for a bert: choose a recipe for that architecture" in message


def test_a_folder_without_a_model_is_refused(tmp_path: Path, finished: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"backbone '{empty}' cannot be loaded: " in refused(ANY_BERT, tmp_path / "out", str(empty))
    shutil.copy(finished / "config.json", empty)
    assert "model.safetensors" in refused(ANY_BERT, tmp_path / "out", str(empty))
    missing = str(tmp_path / "missing")
    assert f"backbone '{missing}' cannot be loaded: " in refused(ANY_BERT, tmp_path / "out", missing)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", "truncated"),
        ("config.json", "{not json"),
        ("config.json", json.dumps({"model_type": "bert", "hidden_size": "wide"})),
        ("config.json", json.dumps({**CONFIG, "model_type": "bert", "vocab_size": 220, "hidden_size": 32})),
        ("tokenizer.json", "{not json"),
    ],
)
def test_a_broken_folder_is_refused(name: str, content: str, copied: Path, tmp_path: Path) -> None:
    (copied / name).write_text(content)
    message = refused(ANY_BERT, tmp_path / "out", str(copied))
    assert message.startswith(f"backbone '{copied}' cannot be loaded: ")


def test_a_model_without_its_tokenizer_is_refused(copied: Path, tmp_path: Path) -> None:
    for path in copied.glob("tokenizer*"):
        path.unlink()
    message = refused(ANY_BERT, tmp_path / "out", str(copied))
    assert "has a vocabulary of 220, its tokenizer one of 5: add the tokenizer's files" in message


def test_a_tokenizer_larger_than_the_model_is_refused(copied: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(copied)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(copied)
    message = refused(ANY_BERT, tmp_path / "out", str(copied))
    assert "has a vocabulary of 220, its tokenizer one of 221" in message


def test_a_model_without_a_language_models_head_gets_one(copied: Path, tmp_path: Path) -> None:
    bare = BertModel.from_pretrained(copied)
    bare.save_pretrained(copied)
    make_backbone(ANY_BERT, DOCUMENTS, tmp_path / "out", str(copied))
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert torch.equal(model.get_input_embeddings().weight, bare.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"model_type": "brt"}, "no masked language model of type 'brt'"),
        ({"model_type": "gpt2", "config": {}}, "no masked language model of type 'gpt2'"),
        (
            {"config": {**CONFIG, "hiden_size": 32}},
            "unknown key of a bert config 'hiden_size', choose one of: ",
        ),
        ({"config": {**CONFIG, "hidden_size": "wide"}}, "'hidden_size' expected int, got str"),
        ({"config": {**CONFIG, "num_attention_heads": 3}}, "not a multiple of the number of attention heads"),
        ({"config": {**CONFIG, "hidden_act": "nope"}}, "nope"),
    ],
)
def test_from_nothing_a_model_that_cannot_be_is_refused(
    update: dict[str, object], expected: str, tmp_path: Path
) -> None:
    assert expected in refused(FROM_NOTHING.model_copy(update=update), tmp_path / "out")
