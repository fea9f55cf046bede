"""Fake quantization of whole models: which layers, with a pattern lock, and their ranges on the way."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging_case import MODELS, dense_model, locked_model
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel

from sparsezoo_hub.core.fake_quantization import (
    FakeQuantizedLinear,
    LayerRanges,
    apply_ranges,
    fake_quantize,
    fake_quantized,
    freeze_ranges,
    learn_ranges,
    learned_ranges,
    ranges_tensors,
    remove_fake_quantization,
    tensors_ranges,
)
from sparsezoo_hub.core.pattern_lock import PatternLock, is_locked
from sparsezoo_hub.errors import QuantizationError, TargetError

IDS = torch.arange(5, 45).view(4, 10)
BERT_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
DISTILBERT_LAYER = (
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "ffn.lin1",
    "ffn.lin2",
)
BOTH = pytest.mark.parametrize("per_channel", [False, True], ids=["per-tensor", "per-channel"])


def train(model: nn.Module, steps: int = 3, optimizer: torch.optim.Optimizer | None = None) -> None:
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    model.train()
    for _ in range(steps):
        ids = torch.randint(5, 120, (4, 10))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def learning(model: nn.Module, *, per_channel: bool = False) -> dict[str, FakeQuantizedLinear]:
    layers = fake_quantize(model, per_channel=per_channel)
    learn_ranges(layers)
    return layers


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    found: Tensor = model.eval()(input_ids=IDS)[0]
    return found


def expected_layers(kind: str) -> set[str]:
    group, parts = ("transformer", DISTILBERT_LAYER) if "distil" in kind else ("encoder", BERT_LAYER)
    return {f"{group}.layer.{index}.{part}.weight" for index in range(2) for part in parts}


@pytest.mark.parametrize("kind", MODELS)
def test_exactly_the_linear_layers_of_the_encoder_are_quantized(kind: str) -> None:
    model = dense_model(kind)
    assert set(fake_quantize(model)) == set(fake_quantized(model)) == expected_layers(kind)
    inside = {name for name, module in model.named_modules() if isinstance(module, FakeQuantizedLinear)}
    assert inside == {
        f"{model.base_model_prefix}.{name}".removesuffix(".weight") for name in expected_layers(kind)
    }


@pytest.mark.parametrize("kind", MODELS)
def test_heads_embeddings_and_norms_never_are_even_if_everything_is_a_target(kind: str) -> None:
    model = dense_model(kind)
    fake_quantize(model, ["*"])
    for name, module in model.named_modules():
        if isinstance(module, FakeQuantizedLinear):
            assert ".layer." in name or ".pooler." in name
        elif isinstance(module, nn.Linear):
            assert not name.startswith(f"{model.base_model_prefix}.")  # a head


def test_a_target_that_matches_nothing_is_refused() -> None:
    with pytest.raises(TargetError, match=r"target 'decoder\.\*' matches none"):
        fake_quantize(dense_model(), ["decoder.*"])


def test_a_model_computes_as_before_until_it_learns() -> None:
    model = dense_model()
    before = logits(model)
    layers = fake_quantize(model)
    assert torch.equal(logits(model), before)
    learn_ranges(layers)
    train(model, steps=1, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    difference = (logits(model) - before).abs().mean()
    assert 0 < difference < 0.1 * before.abs().mean()


@pytest.mark.parametrize("kind", ["bert-mlm", "roberta-mlm", "distilbert-mlm"])
@BOTH
def test_locked_zeros_stay_zero_rounded_or_not_over_every_step(kind: str, per_channel: bool) -> None:
    torch.manual_seed(0)
    model = locked_model(kind)
    masks = {name: mask.clone() for name, mask in PatternLock.masks(model).items()}
    layers = learning(model, per_channel=per_channel)
    before = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        train(model, steps=1, optimizer=optimizer)
        assert PatternLock.revived(model) == 0
        for name, layer in layers.items():
            assert not layer.weight[~masks[name]].any()
            assert not layer.weight_quantizer(layer.weight)[~masks[name]].any()
    moved = torch.cat([(layer.weight != before[name])[masks[name]] for name, layer in layers.items()])
    assert moved.float().mean() > 0.8


def test_the_lock_masks_the_gradients_that_pass_through() -> None:
    model = locked_model()
    layers = learning(model)
    model.train()(input_ids=IDS, labels=IDS).loss.backward()
    masks = PatternLock.masks(model)
    for name, layer in layers.items():
        assert layer.weight.grad is not None
        assert not layer.weight.grad[~masks[name]].any()
    kept = torch.cat([layer.weight.grad[masks[name]] for name, layer in layers.items()])
    assert (kept != 0).float().mean() > 0.8


@BOTH
def test_applied_ranges_give_another_copy_the_same_outputs_bit_for_bit(per_channel: bool) -> None:
    model = locked_model()
    layers = learning(model, per_channel=per_channel)
    train(model)
    ranges = learned_ranges(layers)
    freeze_ranges(layers)
    copied = dense_model()
    copied.load_state_dict({name: model.state_dict()[name] for name in copied.state_dict()})
    assert not torch.equal(logits(copied), logits(model))
    apply_ranges(copied, tensors_ranges(ranges_tensors(ranges)))
    assert torch.equal(logits(copied), logits(model))
    assert torch.equal(logits(copied.train()), logits(model))  # nothing is learned on the way


def test_ranges_of_another_model_are_refused() -> None:
    model = dense_model()
    layers = learning(model, per_channel=True)
    train(model, steps=1)
    ranges = learned_ranges(layers)
    with pytest.raises(QuantizationError, match=r"the model has no encoder\.layer\.0.*another model"):
        apply_ranges(dense_model("distilbert-mlm"), ranges)
    name = next(iter(ranges))
    wider = LayerRanges(torch.ones(48), ranges[name].input_scale, ranges[name].input_zero_point)
    with pytest.raises(QuantizationError, match="has 32 output features, its ranges 48"):
        apply_ranges(dense_model(), {name: wider})


@BOTH
def test_removal_gives_back_an_ordinary_locked_model_with_the_trained_weights(
    per_channel: bool, tmp_path: Path
) -> None:
    model = locked_model()
    PatternLock.lock(model, PatternLock.masks(model))
    keys = list(model.state_dict())
    layers = learning(model, per_channel=per_channel)
    train(model)
    plain = locked_model()
    plain.load_state_dict({name: model.state_dict()[name] for name in keys})
    remove_fake_quantization(model)
    assert not fake_quantized(model)
    assert {type(module) for module in layers.values()} == {nn.Linear}
    assert list(model.state_dict()) == keys
    assert torch.equal(logits(model), logits(plain))
    assert is_locked(model)
    train(model)
    assert PatternLock.revived(model) == 0
    model.save_pretrained(tmp_path)
    loaded: PreTrainedModel = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert {name: mask.tolist() for name, mask in PatternLock.masks(loaded).items()} == {
        name: mask.tolist() for name, mask in PatternLock.masks(model).items()
    }
    assert torch.equal(logits(loaded), logits(model))


def test_a_model_that_never_learned_is_the_same_after_removal() -> None:
    model = dense_model()
    before = logits(model)
    fake_quantize(model)
    remove_fake_quantization(model)
    assert torch.equal(logits(model), before)


@BOTH
def test_a_deep_copy_has_its_own_ranges_and_its_own_lock(per_channel: bool) -> None:
    model = locked_model()
    learning(model, per_channel=per_channel)
    train(model)
    expected = logits(model)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied), expected)
    train(copied)
    assert not torch.equal(logits(copied), expected)
    assert PatternLock.revived(copied) == 0
    assert torch.equal(logits(model), expected)


@BOTH
def test_a_state_dict_in_the_middle_of_training_brings_the_ranges_along(
    per_channel: bool, tmp_path: Path
) -> None:
    model = locked_model()
    learning(model, per_channel=per_channel)
    train(model)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    resumed = locked_model()
    layers = learning(resumed, per_channel=per_channel)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(logits(resumed), logits(model))
    found, expected = learned_ranges(layers), learned_ranges(fake_quantized(model))
    assert {name: value.tolist() for name, value in ranges_tensors(found).items()} == {
        name: value.tolist() for name, value in ranges_tensors(expected).items()
    }
    for each in (model, resumed):
        torch.manual_seed(1)
        train(each, steps=2)
    assert torch.equal(logits(resumed), logits(model))


@settings(max_examples=30, deadline=None)
@given(
    scales=st.lists(st.floats(2.0**-120, 2.0**100, width=32, exclude_min=True), min_size=1, max_size=5),
    input_scale=st.floats(2.0**-120, 2.0**100, width=32, exclude_min=True),
    zero_point=st.integers(0, 255),
)
def test_ranges_and_tensors_are_the_same_there_and_back(
    scales: list[float], input_scale: float, zero_point: int
) -> None:
    each = LayerRanges(
        torch.tensor(scales), torch.tensor([input_scale]), torch.tensor([zero_point], dtype=torch.int32)
    )
    tensors = ranges_tensors({"a.b.weight": each, "c.weight": each})
    assert sorted(tensors)[:3] == [
        "a.b.weight/input_scale",
        "a.b.weight/input_zero_point",
        "a.b.weight/weight_scale",
    ]
    found = tensors_ranges(tensors)
    assert list(found) == ["a.b.weight", "c.weight"]
    for ranges in found.values():
        for part in ("weight_scale", "input_scale", "input_zero_point"):
            assert torch.equal(getattr(ranges, part), getattr(each, part))
            assert getattr(ranges, part).dtype == getattr(each, part).dtype


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w/input_scale": None}, r"missing or unknown: \['w/input_scale'\]"),
        ({"w/colour": torch.ones(1)}, r"missing or unknown: \['w/colour'\]"),
        ({"loose": torch.ones(1)}, "missing or unknown"),
        ({"w/weight_scale": torch.tensor([0.1, float("nan")])}, "w: scales must be finite and above 0"),
        ({"w/weight_scale": torch.tensor([0.1, float("inf")])}, "w: scales must be finite and above 0"),
        ({"w/weight_scale": torch.tensor([0.1, 0.0])}, "above 0, got 0"),
        ({"w/input_scale": torch.tensor([-0.5])}, r"above 0, got -0\.5"),
        ({"w/input_scale": torch.ones(2)}, r"w: the input has one scale and one .*got \[1.0, 1.0\] and"),
        ({"w/input_zero_point": torch.tensor([256], dtype=torch.int32)}, r"in \[0, 255\].*256"),
        ({"w/input_zero_point": torch.tensor([-1], dtype=torch.int32)}, r"in \[0, 255\].*-1"),
        ({"w/input_zero_point": torch.tensor([3, 4], dtype=torch.int32)}, r"in \[0, 255\].*\[3, 4\]"),
    ],
    ids=[
        "missing", "unknown", "no-layer", "nan", "inf", "zero", "negative", "two-input-scales", "256", "-1",
        "two-zero-points",
    ],
)  # fmt: skip
def test_tensors_that_are_no_ranges_are_refused(changes: dict[str, Tensor | None], message: str) -> None:
    tensors: dict[str, Tensor | None] = {
        "w/weight_scale": torch.tensor([0.1, 0.2]),
        "w/input_scale": torch.tensor([0.1]),
        "w/input_zero_point": torch.tensor([3], dtype=torch.int32),
    }
    changed = {name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None}
    with pytest.raises(QuantizationError, match=message):
        tensors_ranges(changed)
