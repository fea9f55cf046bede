"""Attention and layers in bfloat16, against transformers in float32."""

import copy
import json
from pathlib import Path

import pytest
import torch
from engine_case import (
    INSTRUCTIONS,
    MODELS,
    MULTIPLIES_BFLOATS,
    bert_config,
    pruned,
    ragged,
    same_for_any_threads,
    worst_difference,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertModel, PreTrainedModel

from sparsezoo_hub.errors import BackboneError, PackageError
from sparsezoo_hub.runtime import SparseModel, engine
from sparsezoo_hub.runtime.packed_bfloat import PackedBfloat
from sparsezoo_hub.runtime.packed_encoder import LINEARS, PackedEncoder
from sparsezoo_hub.runtime.packed_linear import PackedLinear
from sparsezoo_hub.runtime.packed_model import PACKED_FILE
from sparsezoo_hub.runtime.sparse_encoder import sparse_encoder_of

# bfloat16 has 8 bits: 2^-9 of a value is lost at the most, which layers add up to less than this.
CLOSE = 2e-2
LENGTHS = ([5], [64, 3, 130, 1, 33, 70], [200])


def encoder_of(sparse: PreTrainedModel) -> PackedEncoder:
    found = sparse_encoder_of(sparse)
    assert found is not None
    return found.encoder


def kinds(sparse: PreTrainedModel) -> set[type]:
    return {type(getattr(layer, name)) for layer in encoder_of(sparse).layers for name in LINEARS}


def assert_close(sparse: PreTrainedModel, model: PreTrainedModel, lengths: list[int]) -> None:
    batch = ragged(lengths, model.config.pad_token_id)
    assert worst_difference(sparse(**batch), model(**batch), batch["attention_mask"]) < CLOSE


@pytest.fixture
def bert() -> PreTrainedModel:
    torch.manual_seed(0)
    return pruned(BertModel(bert_config()), 0.8)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_architecture_is_close_with_attention_in_bfloat16(
    name: str, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    torch.manual_seed(0)
    model = pruned(MODELS[name](), 0.8)
    sparse = SparseModel.from_model(model, attention=torch.bfloat16)
    assert kinds(sparse) == {PackedLinear}
    for lengths in LENGTHS:
        assert_close(sparse, model, lengths)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_architecture_is_close_with_layers_in_bfloat16(
    name: str, dtype: torch.dtype | None, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    torch.manual_seed(0)
    model = pruned(MODELS[name](), 0.8)
    # Without being asked for, for a model that is in bfloat16 already.
    stored = model if dtype else copy.deepcopy(model).bfloat16()
    sparse = SparseModel.from_model(stored, dtype=dtype)
    assert kinds(sparse) == {PackedBfloat}
    assert encoder_of(sparse).shape.attention == "bfloat16"
    for lengths in LENGTHS:
        assert_close(sparse, model, lengths)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize(("num_heads", "head_size"), [(5, 1), (2, 2), (3, 5), (2, 9), (1, 33), (2, 64)])
@torch.no_grad()
def test_heads_of_any_size_are_close(
    num_heads: int, head_size: int, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    sizes = {"hidden_size": num_heads * head_size, "num_attention_heads": num_heads}
    torch.manual_seed(0)
    model = pruned(BertModel(bert_config(**sizes, num_hidden_layers=1)), 0.2)
    sparse = SparseModel.from_model(model, attention=torch.bfloat16)
    for lengths in LENGTHS:
        assert_close(sparse, model, lengths)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@torch.no_grad()
def test_attention_is_rounded_where_the_processor_multiplies_bfloat16_and_nowhere_else(
    bert: PreTrainedModel, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    batch = ragged([64, 3, 130], 0)
    exact, rounded = (
        SparseModel.from_model(bert, attention=dtype)(**batch).last_hidden_state
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert torch.equal(exact, rounded) == (instructions not in MULTIPLIES_BFLOATS)
    assert torch.equal(exact, SparseModel.from_model(bert)(**batch).last_hidden_state)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("length", [12, 70])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_what_is_no_number_spoils_its_own_sequence_only(
    dtype: torch.dtype, value: float, length: int, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of sequences of 12 tokens, five lie in a panel.
    monkeypatch.setenv(engine.VARIABLE, instructions)
    model = pruned(BertModel(bert_config(num_hidden_layers=3)), 0.5)
    sparse = SparseModel.from_model(model, dtype=dtype, attention=torch.bfloat16).encoder
    embedded = torch.randn(7, length, 48, generator=torch.Generator().manual_seed(0))
    clean = sparse(embedded).last_hidden_state
    embedded[2, 4, 7] = value
    result: Tensor = sparse(embedded).last_hidden_state
    assert result[2].isnan().all()
    others = [0, 1, 3, 4, 5, 6]
    assert float((result - clean)[others].abs().max()) < CLOSE * float(clean.abs().max())


@pytest.mark.parametrize("instructions", INSTRUCTIONS[:-1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_the_number_of_threads_changes_no_bit(
    bert: PreTrainedModel, dtype: torch.dtype, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    sparse = SparseModel.from_model(bert, dtype=dtype, attention=torch.bfloat16)
    assert same_for_any_threads(sparse, ragged([100, 7, 64, 33], 0))


@torch.no_grad()
def test_float32_can_be_asked_for_of_a_model_in_bfloat16(bert: PreTrainedModel) -> None:
    bert.bfloat16()
    sparse = SparseModel.from_model(bert, dtype=torch.float32)
    assert kinds(sparse) == {PackedLinear}
    assert encoder_of(sparse).shape.attention == "float32"
    batch = ragged([64, 3, 130], 0)
    assert worst_difference(sparse(**batch), bert.float()(**batch), batch["attention_mask"]) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_packed_model_keeps_its_layers_and_its_attention_unless_told_otherwise(
    bert: PreTrainedModel, dtype: torch.dtype, tmp_path: Path
) -> None:
    batch = ragged([64, 3, 130], 0)
    sparse = SparseModel.from_model(bert, dtype=dtype, attention=torch.bfloat16)
    sparse.save_pretrained(tmp_path)
    loaded = SparseModel.from_pretrained(tmp_path)
    assert encoder_of(loaded).shape == encoder_of(sparse).shape
    assert kinds(loaded) == kinds(sparse)
    assert torch.equal(loaded(**batch).last_hidden_state, sparse(**batch).last_hidden_state)
    exact = SparseModel.from_model(bert, dtype=dtype, attention=torch.float32)
    told = SparseModel.from_pretrained(tmp_path, attention=torch.float32)
    assert encoder_of(told).shape.attention == "float32"
    assert torch.equal(told(**batch).last_hidden_state, exact(**batch).last_hidden_state)
    told.save_pretrained(tmp_path / "again")
    assert encoder_of(SparseModel.from_pretrained(tmp_path / "again")).shape.attention == "float32"


@torch.no_grad()
def test_a_model_that_is_not_packed_is_loaded_in_what_is_asked_for(
    bert: PreTrainedModel, tmp_path: Path
) -> None:
    bert.save_pretrained(tmp_path)
    loaded = SparseModel.from_pretrained(tmp_path, attention=torch.bfloat16)
    assert (kinds(loaded), encoder_of(loaded).shape.attention) == ({PackedLinear}, "bfloat16")
    narrow = SparseModel.from_pretrained(tmp_path, dtype=torch.bfloat16, attention=torch.float32)
    assert (kinds(narrow), encoder_of(narrow).shape.attention) == ({PackedBfloat}, "float32")


def test_a_dtype_that_the_engine_does_not_compute_in_is_refused_by_name(
    bert: PreTrainedModel, tmp_path: Path
) -> None:
    SparseModel.from_model(bert).save_pretrained(tmp_path)
    message = "dtype of the sparse engine.*float16.*float32.*bfloat16"
    with pytest.raises(BackboneError, match=message):
        SparseModel.from_model(bert, attention=torch.float16)
    with pytest.raises(BackboneError, match=message):
        SparseModel.from_model(bert, dtype=torch.float16)
    with pytest.raises(BackboneError, match=message):
        SparseModel.from_pretrained(tmp_path, attention=torch.float16)
    with pytest.raises(ValueError, match=r"dtype of attention.*'half'"):
        encoder_of(SparseModel.from_model(bert)).with_attention("half")


@pytest.mark.parametrize("said", ["float16", "", 1, None])
def test_a_packed_model_of_another_attention_is_refused(
    bert: PreTrainedModel, said: object, tmp_path: Path
) -> None:
    SparseModel.from_model(bert).save_pretrained(tmp_path)
    path = tmp_path / PACKED_FILE
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["sparse_engine"])
    header["shape"]["attention"] = said
    save_file(load_file(path), path, metadata={"sparse_engine": json.dumps(header)})
    with pytest.raises(PackageError, match=r"metadata, shape\.attention: Input should be 'float32' or 'bfl"):
        SparseModel.from_pretrained(tmp_path)
