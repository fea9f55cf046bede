from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForTokenClassification,
    RobertaModel,
)

import sparsezoo_hub  # noqa: F401 - registers the lock with from_pretrained
from sparsezoo_hub.core.layer_dropping import LAYER_CHOICES, drop_layers, kept_layers
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.core.pattern_lock import PatternLock, is_locked
from sparsezoo_hub.core.targets import base_model, match_targets

NUM_LAYERS = 12
SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "initializer_range": 0.3,
}


def bert(num_layers: int = NUM_LAYERS) -> BertConfig:
    return BertConfig(**SIZES, num_hidden_layers=num_layers)


def roberta(num_layers: int = NUM_LAYERS) -> RobertaConfig:
    return RobertaConfig(**SIZES, num_hidden_layers=num_layers, pad_token_id=1)


def distilbert(num_layers: int = NUM_LAYERS) -> DistilBertConfig:
    return DistilBertConfig(
        vocab_size=40,
        dim=16,
        n_heads=2,
        hidden_dim=24,
        n_layers=num_layers,
        max_position_embeddings=20,
        initializer_range=0.3,
    )


MODELS: dict[str, tuple[type[PreTrainedModel], Callable[..., object]]] = {
    "bert": (BertModel, bert),
    "bert-masked-lm": (BertForMaskedLM, bert),
    "bert-sequence": (BertForSequenceClassification, bert),
    "roberta": (RobertaModel, roberta),
    "roberta-masked-lm": (RobertaForMaskedLM, roberta),
    "roberta-token": (RobertaForTokenClassification, roberta),
    "distilbert": (DistilBertModel, distilbert),
    "distilbert-masked-lm": (DistilBertForMaskedLM, distilbert),
    "distilbert-sequence": (DistilBertForSequenceClassification, distilbert),
}


def make(kind: str, num_layers: int = NUM_LAYERS, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    cls, config = MODELS[kind]
    return cls(config(num_layers)).eval()


def output(model: nn.Module) -> Tensor:
    ids = torch.arange(2, 14).reshape(2, 6)
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]


def with_kept_layers(deep: PreTrainedModel, kind: str, layers: tuple[int, ...]) -> PreTrainedModel:
    """Another model, made shallow, that gets the kept layers' weights by their names."""
    shallow = make(kind, len(layers), seed=1)
    weights = deep.state_dict()
    chosen = {}
    for name in shallow.state_dict():
        head, stack, rest = name.partition(".layer." if ".layer." in name else "no layer")
        if stack == ".layer.":
            position, _, rest = rest.partition(".")
            chosen[name] = weights[f"{head}.layer.{layers[int(position)]}.{rest}"]
        else:
            chosen[name] = weights[name]
    shallow.load_state_dict(chosen)
    return shallow


def locked(kind: str) -> PreTrainedModel:
    model = make(kind)
    generator = torch.Generator().manual_seed(2)
    masks = {
        name: torch.rand(module.weight.shape, generator=generator) > 0.7
        for name, module in match_targets(model, ["encoder"]).items()
    }
    PatternLock.prune(model, masks)
    PatternLock.lock(model, masks)
    return model


@pytest.mark.parametrize(
    ("num_layers", "count", "choice", "expected"),
    [
        (12, 6, "interleaved", (0, 2, 4, 6, 8, 10)),
        (12, 4, "interleaved", (0, 3, 6, 9)),
        (12, 12, "interleaved", tuple(range(12))),
        (24, 6, "interleaved", (0, 4, 8, 12, 16, 20)),
        (12, 3, "first_middle_last", (0, 5, 11)),
        (6, 3, "first_middle_last", (0, 2, 5)),
        (5, 3, "first_middle_last", (0, 2, 4)),
        (3, 3, "first_middle_last", (0, 1, 2)),
    ],
)
def test_the_kept_layers_are_those_of_the_paper(
    num_layers: int, count: int, choice: str, expected: tuple[int, ...]
) -> None:
    assert kept_layers(num_layers, count, choice) == expected


@given(
    num_layers=st.integers(1, 40), count=st.integers(-1, 41), choice=st.sampled_from(sorted(LAYER_CHOICES))
)
def test_a_choice_keeps_the_asked_number_in_order_or_refuses(
    num_layers: int, count: int, choice: str
) -> None:
    try:
        layers = kept_layers(num_layers, count, choice)
    except ValueError:
        return
    assert len(layers) == count
    assert list(layers) == sorted(set(layers))
    assert layers[0] == 0
    assert layers[-1] < num_layers


@pytest.mark.parametrize(
    ("num_layers", "count", "choice", "text"),
    [
        (12, 5, "interleaved", "no multiple of 5"),
        (12, 0, "interleaved", "between 1 and 12"),
        (12, 13, "interleaved", "between 1 and 12"),
        (12, 4, "first_middle_last", "keeps 3 layers, got 4"),
        (12, 6, "interleave", "did you mean 'interleaved'"),
    ],
)
def test_what_a_choice_cannot_keep_is_refused(num_layers: int, count: int, choice: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        kept_layers(num_layers, count, choice)


@pytest.mark.parametrize("layers", [(0, 2, 4, 6, 8, 10), (0, 5, 11), (7,)], ids=str)
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_with_dropped_layers_computes_what_one_made_of_the_kept_layers_does(
    kind: str, layers: tuple[int, ...]
) -> None:
    model = make(kind)
    before = output(model)
    expected = output(with_kept_layers(model, kind, layers))
    drop_layers(model, layers)
    assert torch.equal(output(model), expected)
    assert not torch.allclose(before, expected, atol=1e-3)


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_with_dropped_layers_is_saved_and_loaded_as_it_is(kind: str, tmp_path: Path) -> None:
    model = make(kind)
    drop_layers(model, (0, 5, 11))
    model.save_pretrained(tmp_path)
    loaded, loading = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert loaded.config.num_hidden_layers == 3
    assert torch.equal(output(loaded.eval()), output(model))
    assert AutoModel.from_pretrained(tmp_path).config.num_hidden_layers == 3


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_every_count_of_layers_follows(kind: str) -> None:
    model = make(kind)
    drop_layers(model, (0, 6))
    assert model.config.num_hidden_layers == 2
    stack = model.transformer if kind == "distilbert" else model.encoder
    assert len(stack.layer) == 2
    if kind == "distilbert":
        assert (model.config.n_layers, stack.n_layers) == (2, 2)
    hidden = model(torch.ones(1, 4, dtype=torch.long), output_hidden_states=True).hidden_states
    assert len(hidden) == 3


def test_a_decoder_finds_its_cache_under_the_new_positions() -> None:
    torch.manual_seed(0)
    config = bert()
    config.is_decoder = True
    model = BertLMHeadModel(config).eval()
    drop_layers(model, (1, 5, 11))
    ids = torch.arange(2, 10)[None]
    with torch.no_grad():
        whole = model(ids).logits[:, -1]
        cache = model(ids[:, :-1], use_cache=True).past_key_values
        step = model(ids[:, -1:], past_key_values=cache, use_cache=True).logits[:, -1]
    assert len(cache.layers) == 3
    assert torch.allclose(whole, step, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert-masked-lm", "roberta-token", "distilbert-sequence"])
def test_a_lock_keeps_the_kept_layers_under_their_new_names(kind: str, tmp_path: Path) -> None:
    model = locked(kind)
    before = PatternLock.masks(model)
    drop_layers(model, (0, 5, 11))
    stack = "transformer" if kind.startswith("distilbert") else "encoder"
    expected = {}
    for position, index in enumerate((0, 5, 11)):
        prefix = f"{stack}.layer.{index}."
        for name, mask in before.items():
            if name.startswith(prefix):
                expected[f"{stack}.layer.{position}.{name.removeprefix(prefix)}"] = mask
    masks = PatternLock.masks(model)
    assert len(expected) == 18
    assert masks.keys() == expected.keys()
    assert all(torch.equal(masks[name], expected[name]) for name in expected)
    pruned = sum(int((~mask).sum()) for mask in expected.values())
    sparsity = pruned / sum(mask.numel() for mask in expected.values())
    assert PatternLock.verify(model) == pytest.approx(sparsity)
    assert model.config.quantization_config["mask_digest"] == mask_digest(expected)

    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert mask_digest(PatternLock.masks(loaded)) == mask_digest(expected)
    assert PatternLock.verify(loaded) == pytest.approx(sparsity)


def test_a_lock_still_holds_after_layers_were_dropped() -> None:
    model = locked("bert-masked-lm").train()
    drop_layers(model, (0, 5, 11))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    ids = torch.arange(2, 14).reshape(2, 6)
    for _ in range(3):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert PatternLock.revived(model) == 0
    assert PatternLock.verify(model) > 0.5


def test_a_lock_of_dropped_layers_only_is_gone() -> None:
    model = make("bert")
    dropped = model.encoder.layer[3]
    masks = {"encoder.layer.3.output.dense.weight": torch.rand(dropped.output.dense.weight.shape) > 0.5}
    PatternLock.prune(model, masks)
    PatternLock.lock(model, masks)
    drop_layers(model, (0, 6))
    assert not is_locked(model)
    assert not is_locked(dropped)
    assert not hasattr(base_model(model).config, "quantization_config")


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ((0, 12), "layer 12 does not exist: the model has layers 0 to 11"),
        ((-1, 3), "layer -1 does not exist"),
        ((0, 4, 4), "layer 4 is named twice"),
        ((0, 6, 5), "layer 5 comes after layer 6"),
        ((), "at least one layer"),
    ],
)
def test_indices_that_do_not_fit_are_refused_and_the_model_is_left_alone(
    layers: tuple[int, ...], text: str
) -> None:
    model = locked("bert")
    before = output(model)
    with pytest.raises(ValueError, match=text):
        drop_layers(model, layers)
    assert torch.equal(output(model), before)
    assert len(PatternLock.masks(model)) == 6 * NUM_LAYERS


def test_a_model_without_a_stack_of_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="only those of BERT, RoBERTa and DistilBERT"):
        drop_layers(nn.Sequential(nn.Linear(2, 2)), (0,))
