"""Int8 models in the engine, against transformers with torch's fake quantization.

That rounds nothing in attention: where the two are to be the same, attention is in float32 here too.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from engine_case import (
    INSTRUCTIONS,
    MODELS,
    bert_config,
    pruned,
    ragged,
    ranges_of,
    same_for_any_threads,
    worst_difference,
)
from torch import Tensor
from transformers import BertModel, PreTrainedModel

from sparsezoo_hub.core.fake_quantization import (
    LayerRanges,
    apply_ranges,
    begin_step,
    fake_quantize,
    learn_ranges,
)
from sparsezoo_hub.errors import QuantizationError
from sparsezoo_hub.runtime import SparseModel, engine
from sparsezoo_hub.runtime.encoder_packing import pack_encoder
from sparsezoo_hub.runtime.packed_encoder import LINEARS, PackedLayer
from sparsezoo_hub.runtime.packed_int8 import PackedInt8
from sparsezoo_hub.runtime.packed_linear import PackedLinear, PackedParts

LENGTHS = [64, 3, 130, 1, 33, 70]
# A value that lies between two codes may fall to either side, for floats differ in their last digits: a few
# values are a step of their code apart, and their mean is far below that.
CLOSE, CLOSE_IN_THE_MEAN = 3e-2, 1e-3
QUERY = "encoder.layer.0.attention.self.query.weight"
UP = "encoder.layer.0.intermediate.dense.weight"


def exactly_int8(model: PreTrainedModel, ranges: Mapping[str, LayerRanges] | None = None) -> PreTrainedModel:
    return SparseModel.from_model(model, ranges, attention=torch.float32)


def packed_layers(sparse: PreTrainedModel) -> tuple[PackedLayer, ...]:
    return sparse.encoder.encoder.layers


def assert_close(ours: object, theirs: object, mask: Tensor) -> None:
    assert worst_difference(ours, theirs, mask) < CLOSE
    assert mean_difference(ours[0], theirs[0], mask) < CLOSE_IN_THE_MEAN


def mean_difference(ours: Tensor, theirs: Tensor, mask: Tensor) -> float:
    """Relative to the mean output, of the first of the outputs."""
    if theirs.shape[:2] == mask.shape:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    return float((ours - theirs).abs().mean() / theirs.abs().mean())


def rounded(model: PreTrainedModel, *, per_channel: bool = False) -> PreTrainedModel:
    """The model itself, its encoder computing as int8 would."""
    apply_ranges(model, ranges_of(model, per_channel=per_channel))
    return model


@pytest.fixture
def bert() -> PreTrainedModel:
    torch.manual_seed(0)
    return pruned(BertModel(bert_config()), 0.8)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_architecture_gives_what_the_rounded_model_gives(
    name: str, sparsity: float, per_channel: bool, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    torch.manual_seed(0)
    model = rounded(pruned(MODELS[name](), sparsity), per_channel=per_channel)
    sparse = exactly_int8(model)
    batch = ragged(LENGTHS, model.config.pad_token_id)
    assert_close(sparse(**batch), model(**batch), batch["attention_mask"])


@torch.no_grad()
def test_rounding_is_far_more_than_what_the_engine_is_off(bert: PreTrainedModel) -> None:
    batch = ragged([90, 120], 0)
    exact = bert(**batch)
    model = rounded(copy.deepcopy(bert))
    mask, theirs = batch["attention_mask"], model(**batch)[0]
    off = mean_difference(exactly_int8(model)(**batch)[0], theirs, mask)
    assert off < 0.02 * mean_difference(theirs, exact[0], mask)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@torch.no_grad()
def test_attention_is_in_bfloat16_if_nothing_is_said_and_adds_less_than_rounding_to_int8_does(
    bert: PreTrainedModel, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    batch = ragged([90, 120], 0)
    exact = bert(**batch)[0]
    model = rounded(copy.deepcopy(bert))
    mask, theirs = batch["attention_mask"], model(**batch)[0]
    sparse = SparseModel.from_model(model)
    assert sparse.encoder.encoder.shape.attention == "bfloat16"
    assert exactly_int8(model).encoder.encoder.shape.attention == "float32"
    ours = sparse(**batch)[0]
    own_error = mean_difference(theirs, exact, mask)
    assert mean_difference(ours, theirs, mask) < 0.5 * own_error
    assert mean_difference(ours, exact, mask) < 1.1 * own_error


@torch.no_grad()
def test_ranges_that_are_given_and_ranges_that_a_model_has_are_the_same(bert: PreTrainedModel) -> None:
    ranges = ranges_of(bert)
    batch = ragged([40, 9], 0)
    given = exactly_int8(bert, ranges)(**batch).last_hidden_state
    apply_ranges(bert, ranges)
    assert torch.equal(given, exactly_int8(bert)(**batch).last_hidden_state)


@torch.no_grad()
def test_a_layer_that_only_watches_is_computed_in_floats(bert: PreTrainedModel) -> None:
    batch = ragged([40, 9], 0)
    layers = fake_quantize(bert)
    learn_ranges(layers, rounding=False)
    begin_step(layers)
    bert.train()(**batch)
    sparse = exactly_int8(bert.eval())
    assert all(isinstance(layer.up, PackedLinear) for layer in packed_layers(sparse))
    assert worst_difference(sparse(**batch), bert(**batch), batch["attention_mask"]) < 1e-5


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@torch.no_grad()
def test_a_feed_forward_network_may_be_far_narrower_than_the_rest(
    instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    model = rounded(pruned(BertModel(bert_config(hidden_act="relu", intermediate_size=5)), 0.8))
    batch = ragged([70, 9, 33], 0)
    assert_close(exactly_int8(model)(**batch), model(**batch), batch["attention_mask"])


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@torch.no_grad()
def test_layers_without_ranges_stay_floats(
    bert: PreTrainedModel, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    all_ranges = ranges_of(bert)
    ranges = {name: each for name, each in all_ranges.items() if name not in (QUERY, UP)}
    apply_ranges(bert, ranges)
    sparse = exactly_int8(bert)
    first, second = packed_layers(sparse)
    assert isinstance(first.projections, PackedParts)
    assert [type(part) for part in first.projections.parts] == [PackedLinear, PackedInt8, PackedInt8]
    assert isinstance(first.up, PackedLinear)
    assert all(isinstance(getattr(second, name), PackedInt8) for name in LINEARS)
    batch = ragged([70, 9, 33], 0)
    assert_close(sparse(**batch), bert(**batch), batch["attention_mask"])


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@torch.no_grad()
def test_queries_keys_and_values_are_each_rounded_by_their_own_ranges(
    bert: PreTrainedModel, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    ranges = ranges_of(bert)
    for factor, name in ((1.7, "query"), (0.6, "value")):
        for layer in range(2):
            key = f"encoder.layer.{layer}.attention.self.{name}.weight"
            ranges[key] = replace(ranges[key], input_scale=ranges[key].input_scale * factor)
    apply_ranges(bert, ranges)
    sparse = exactly_int8(bert)
    projections = packed_layers(sparse)[0].projections
    assert isinstance(projections, PackedParts)
    assert [part.num_outputs for part in projections.parts] == [48, 48, 48]
    batch = ragged([70, 9, 33], 0)
    assert_close(sparse(**batch), bert(**batch), batch["attention_mask"])


@pytest.mark.parametrize("instructions", INSTRUCTIONS[:-1])
@torch.no_grad()
def test_the_number_of_threads_changes_no_bit(
    bert: PreTrainedModel, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    sparse = exactly_int8(rounded(bert))
    assert same_for_any_threads(sparse, ragged([100, 7, 64, 33], 0))


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@torch.no_grad()
def test_what_is_no_number_spoils_its_own_sequence_only(
    bert: PreTrainedModel, value: float, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.VARIABLE, instructions)
    sparse = exactly_int8(rounded(bert)).encoder
    embedded = torch.randn(3, 70, 48, generator=torch.Generator().manual_seed(0))
    clean = sparse(embedded).last_hidden_state
    embedded[1, 40, 7] = value
    result: Tensor = sparse(embedded).last_hidden_state
    assert result[1].isnan().all()
    assert torch.equal(result[[0, 2]], clean[[0, 2]])


@torch.no_grad()
def test_values_beyond_the_range_take_its_ends_however_large_they_are(bert: PreTrainedModel) -> None:
    layers = exactly_int8(rounded(bert)).encoder.encoder.layers
    up = layers[0].up
    inputs = torch.tensor([[1e30], [-1e30]]).expand(2, 48).contiguous()
    ends = torch.tensor([255 - up.zero_point, -up.zero_point])[:, None]
    expected = ends * up.weight_codes().sum(dim=1) * up.scales + up.bias
    torch.testing.assert_close(up.multiply(inputs), expected)


def test_ranges_of_another_model_are_refused(bert: PreTrainedModel) -> None:
    ranges = ranges_of(bert)
    with pytest.raises(QuantizationError, match=r"has no encoder\.layer\.9"):
        pack_encoder(bert, {**ranges, "encoder.layer.9.output.dense.weight": ranges[UP]})
    wrong = replace(ranges[UP], weight_scale=torch.ones(7))
    with pytest.raises(QuantizationError, match="of 104 output features has ranges of 7"):
        pack_encoder(bert, {**ranges, UP: wrong})
    with torch.no_grad():
        bert.encoder.layer[0].intermediate.dense.weight[0, 0] = float("nan")
    with pytest.raises(QuantizationError, match="not finite, and int8 has no code"):
        pack_encoder(bert, ranges)
