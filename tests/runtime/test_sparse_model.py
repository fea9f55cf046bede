import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from engine_case import (
    INSTRUCTIONS,
    MODELS,
    bert_config,
    pruned,
    ragged,
    same_for_any_threads,
    worst_difference,
)
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertModel, GPT2Config, GPT2Model, pipeline

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.runtime import SparseModel, engine

LENGTHS = ([5], [64, 3, 130], [200])


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_architecture_and_head_gives_what_transformers_gives(
    name: str, sparsity: float, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    model = pruned(MODELS[name](), sparsity)
    sparse = SparseModel.from_model(model)
    assert type(sparse) is type(model)
    for lengths in LENGTHS:
        batch = ragged(lengths, model.config.pad_token_id)
        assert worst_difference(sparse(**batch), model(**batch), batch["attention_mask"]) < 1e-5


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@torch.no_grad()
def test_no_mask_is_a_mask_of_ones(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    model = pruned(BertModel(bert_config()), 0.9)
    ids = ragged([70], 0)["input_ids"].expand(3, -1)
    sparse, expected = SparseModel.from_model(model)(input_ids=ids), model(input_ids=ids)
    assert worst_difference(sparse, expected, torch.ones_like(ids)) < 1e-5


@torch.no_grad()
def test_the_model_itself_stays_as_it_is_and_nothing_of_it_is_shared() -> None:
    model = pruned(BertModel(bert_config()), 0.9)
    batch = ragged([9, 30], 0)
    before = model(**batch).last_hidden_state
    sparse = SparseModel.from_model(model)
    again = sparse(**batch).last_hidden_state
    for parameter in model.parameters():
        parameter.zero_()
    assert torch.equal(sparse(**batch).last_hidden_state, again)
    assert not torch.equal(model(**batch).last_hidden_state, before)
    assert not any(parameter.requires_grad for parameter in sparse.parameters())


@pytest.mark.parametrize("instructions", INSTRUCTIONS[:-1])
@torch.no_grad()
def test_the_number_of_threads_changes_no_bit(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    sparse = SparseModel.from_model(pruned(BertModel(bert_config()), 0.8))
    assert same_for_any_threads(sparse, ragged([100, 7, 64, 33], 0))


@torch.no_grad()
def test_several_models_run_on_several_threads_at_once() -> None:
    models = [SparseModel.from_model(pruned(MODELS[name](), 0.9)) for name in MODELS]
    batches = [ragged([60 + 9 * index, 5], model.config.pad_token_id) for index, model in enumerate(models)]
    alone = [model(**batch)[0] for model, batch in zip(models, batches, strict=True)]

    def run(index: int) -> torch.Tensor:
        with torch.no_grad():
            return models[index % len(models)](**batches[index % len(models)])[0]

    with ThreadPoolExecutor(4) as pool:
        for index, result in enumerate(pool.map(run, range(60))):
            assert torch.equal(result, alone[index % len(models)])


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@torch.no_grad()
def test_what_is_no_number_spoils_its_own_sequence_only(
    value: float, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    model = pruned(BertModel(bert_config(num_hidden_layers=3)), 0.5)
    embedded = torch.randn(2, 70, 48, generator=torch.Generator().manual_seed(0))
    embedded[1, 40, 7] = value
    layers = SparseModel.from_model(model).encoder
    result = layers(embedded).last_hidden_state
    expected = embedded
    for layer in model.encoder.layer:
        expected = layer(expected)
    assert torch.equal(result.isnan(), expected.isnan())
    assert result[1].isnan().all()
    torch.testing.assert_close(result[0], expected[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_batch_of_nothing_but_padding_is_zeros() -> None:
    sparse = SparseModel.from_model(pruned(BertModel(bert_config()), 0.9))
    nothing = torch.zeros(2, 6, dtype=torch.long)
    assert not sparse.encoder(torch.randn(2, 6, 48), nothing).last_hidden_state.any()


@torch.no_grad()
def test_a_package_is_loaded_and_a_pipeline_takes_it(written: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(written).eval()
    sparse = SparseModel.from_pretrained(written)
    tokenizer = AutoTokenizer.from_pretrained(written)
    text = f"a text with one {tokenizer.mask_token} word"
    ours, theirs = (pipeline("fill-mask", model=each, tokenizer=tokenizer)(text) for each in (sparse, model))
    assert [each["token"] for each in ours] == [each["token"] for each in theirs]
    assert [each["score"] for each in ours] == pytest.approx([each["score"] for each in theirs], rel=1e-4)


def test_the_operator_is_one_that_torch_can_trace() -> None:
    encoder = SparseModel.from_model(pruned(BertModel(bert_config()), 0.9)).encoder.encoder
    hidden, starts = torch.randn(10, 48), torch.tensor([0, 4, 10], dtype=torch.int32)
    operator = torch.ops.sparsezoo_hub.sparse_encode
    torch.library.opcheck(operator, (hidden, starts, encoder.number))


@pytest.mark.parametrize("asked", ["output_hidden_states", "output_attentions"])
def test_what_the_engine_does_not_keep_is_refused(asked: str) -> None:
    sparse = SparseModel.from_model(pruned(BertModel(bert_config()), 0.9))
    with pytest.raises(ValueError, match="keeps no"):
        sparse.encoder(torch.randn(1, 3, 48), **{asked: True})


def test_a_mask_of_another_shape_is_refused() -> None:
    sparse = SparseModel.from_model(pruned(BertModel(bert_config()), 0.9))
    with pytest.raises(ValueError, match=r"takes an attention mask of \(2, 3\), got \(2, 1, 3, 3\)"):
        sparse(input_ids=torch.ones(2, 3, dtype=torch.long), attention_mask=torch.ones(2, 1, 3, 3))


def test_another_architecture_is_refused_by_name() -> None:
    small = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20)
    with pytest.raises(BackboneError, match="computes bert, roberta, distilbert, not gpt2"):
        SparseModel.from_model(GPT2Model(small))
    with pytest.raises(BackboneError, match="activation function of the sparse engine"):
        SparseModel.from_model(BertModel(bert_config(hidden_act="tanh")))


def test_an_instruction_set_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.VARIABLE, "sse9")
    sparse = SparseModel.from_model(pruned(BertModel(bert_config()), 0.9))
    with pytest.raises(ValueError, match=r"instruction set .*'sse9'"):
        sparse(**ragged([4], 0))


@pytest.mark.skipif(len(INSTRUCTIONS) == 1, reason="the kernels were not compiled")
def test_torchs_openmp_is_the_only_one_in_the_process() -> None:
    script = (
        "import torch\n"
        "from transformers import BertConfig, BertModel\n"
        "from sparsezoo_hub.runtime import SparseModel\n"
        "small = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)\n"
        "SparseModel.from_model(BertModel(small))(input_ids=torch.ones(1, 3, dtype=torch.long))\n"
        "files = {line.split()[-1] for line in open('/proc/self/maps') if '/' in line}\n"
        "assert any(file.endswith('_kernels.so') for file in files)\n"
        "print(sum('libgomp' in file or 'libiomp' in file or 'libomp' in file for file in files))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "1"


@torch.no_grad()
def test_without_kernels_torch_computes_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "LIBRARY", tmp_path / "nowhere.so")
    monkeypatch.delenv(engine.VARIABLE, raising=False)
    engine._library.cache_clear()
    try:
        model = pruned(BertModel(bert_config()), 0.9)
        sparse, batch = SparseModel.from_model(model), ragged([8, 20], 0)
        with pytest.warns(
            UserWarning,
            match="install a C\\+\\+ compiler and sparsezoo-hub again.* no faster than dense ones",
        ):
            result = sparse(**batch)
        assert worst_difference(result, model(**batch), batch["attention_mask"]) < 1e-5
        sparse(**batch)  # warnings are errors: there is no second one
    finally:
        engine._library.cache_clear()
