"""The arithmetic of one fake-quantized layer, against values by hand and numpy's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsezoo_hub.core.fake_quantization import (
    FakeQuantizedLinear,
    fake_quantize,
    freeze_ranges,
    learn_ranges,
    learned_ranges,
)
from sparsezoo_hub.errors import QuantizationError

NAME = "0.weight"
# 255 steps of 1/64 from -1 on: every level is a float, and 64 is the code of 0.
FIRST_INPUT = torch.tensor([[-1.0, 2.984375, 0.3, 0.0]])


def quantized(weight: Tensor, *, per_channel: bool = False) -> FakeQuantizedLinear:
    """A layer with this weight (out, in) and no bias, in training, its ranges not learned yet."""
    model = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0], bias=False)).train()
    with torch.no_grad():
        model[0].weight.copy_(weight)
    return fake_quantize(model, [NAME], per_channel=per_channel)[NAME]


def learning(weight: Tensor, *, per_channel: bool = False) -> FakeQuantizedLinear:
    layer = quantized(weight, per_channel=per_channel)
    learn_ranges({NAME: layer})
    return layer


def random_weight(seed: int, sparsity: float = 0.0, *, one_signed: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 8, generator=generator)
    weight = weight.abs() if one_signed else weight
    return weight * (torch.rand(6, 8, generator=generator) >= sparsity)


def rounded(values: Tensor, scale: float, zero_point: int, lowest: int, highest: int) -> NDArray[np.float64]:
    codes = np.rint(values.detach().double().numpy() / scale) + zero_point
    return (np.clip(codes, lowest, highest) - zero_point) * scale


def test_nothing_changes_before_ranges_are_learned() -> None:
    layer = quantized(random_weight(0))
    x = torch.randn(5, 8)
    for mode in (True, False):
        assert torch.equal(layer.train(mode)(x), nn.functional.linear(x, layer.weight))


def test_weights_are_rounded_half_to_even_and_clipped_to_codes_of_int8() -> None:
    # max |w| = 127 / 2, so the scale is 1/2; a quarter is half a step.
    layer = learning(
        torch.tensor([[-63.5, 0.25, 0.75, 1.1, -0.3, 0.0], [63.5, -0.25, 7.5, 0.2, 63.3, -63.3]])
    )
    layer(torch.ones(1, 6))
    assert layer.weight_quantizer(layer.weight).tolist() == [
        [-63.5, 0.0, 1.0, 1.0, -0.5, 0.0],
        [63.5, 0.0, 7.5, 0.0, 63.5, -63.5],
    ]
    assert learned_ranges({NAME: layer})[NAME].weight_scale.tolist() == [0.5]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sparsity=st.floats(0, 0.99),
    size=st.sampled_from([1e-4, 0.02, 1.0, 300.0]),
    one_signed=st.booleans(),
    per_channel=st.booleans(),
)
def test_every_weight_is_the_nearest_level_of_a_symmetric_range_and_zero_stays_zero(
    seed: int, sparsity: float, size: float, one_signed: bool, per_channel: bool
) -> None:
    weight = random_weight(seed, sparsity, one_signed=one_signed) * size
    layer = learning(weight, per_channel=per_channel)
    layer(torch.randn(3, 8))
    found = layer.weight_quantizer(layer.weight).detach().double().numpy()
    values = weight.double().numpy()
    largest = np.abs(values).max(axis=1 if per_channel else None, keepdims=True)
    scale = np.maximum(largest / 127, np.finfo(np.float32).eps)  # no scale of torch's is smaller
    scales = learned_ranges({NAME: layer})[NAME].weight_scale
    assert scales.shape == (6 if per_channel else 1,)
    occupied = largest.flatten() > 0
    np.testing.assert_allclose(scales.numpy()[occupied], scale.flatten()[occupied], rtol=1e-6)
    assert (scales > 0).all()  # of a row of zeros as well
    assert not found[values == 0].any()
    assert (np.abs(found - values) <= 0.5 * scale * (1 + 1e-4)).all()
    codes = found / np.where(scale > 0, scale, 1)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    assert codes.min() >= -127.001
    assert codes.max() <= 127.001


def test_per_channel_gives_every_output_row_a_range_of_its_own() -> None:
    weight = torch.tensor([[127.0, -3.0], [0.0, -12.7], [1.27, 0.5], [0.0, 0.0]])
    layer = learning(weight, per_channel=True)
    layer(torch.ones(1, 2))
    scales = learned_ranges({NAME: layer})[NAME].weight_scale
    assert scales[:3].tolist() == pytest.approx([1.0, 0.1, 0.01])
    assert layer.weight_quantizer(layer.weight).detach().flatten().tolist() == pytest.approx(
        [127.0, -3.0, 0.0, -12.7, 1.27, 0.5, 0.0, 0.0]
    )


def test_the_range_of_a_weight_is_that_of_this_step_and_frozen_as_the_last_step_left_it() -> None:
    layer = learning(random_weight(0))
    layer(torch.ones(1, 8))
    for freeze in (False, True):
        with torch.no_grad():
            layer.weight.mul_(0.25)  # as a step of an optimizer, with no forward pass behind it
        if freeze:
            freeze_ranges({NAME: layer})
        now = pytest.approx(float(layer.weight.detach().abs().max()) / 127, rel=1e-5)
        assert learned_ranges({NAME: layer})[NAME].weight_scale.item() == now
        layer(torch.ones(1, 8))
        assert learned_ranges({NAME: layer})[NAME].weight_scale.item() == now


def test_inputs_are_rounded_and_clipped_to_256_levels_from_minimum_to_maximum() -> None:
    layer = learning(torch.eye(4))
    layer(FIRST_INPUT)
    ranges = learned_ranges({NAME: layer})[NAME]
    assert (ranges.input_scale.tolist(), ranges.input_zero_point.tolist()) == ([1 / 64], [64])
    layer.eval()
    seen = torch.tensor([-1.0, -5.0, 0.0, 0.3, -0.3, 0.0078125, 0.0234375, 2.984375, 10.0])
    # 0.3 is 19.2 steps; 1/128 and 3/128 lie between two levels.
    assert layer.input_quantizer(seen).tolist() == [
        -1.0, -1.0, 0.0, 19 / 64, -19 / 64, 0.0, 2 / 64, 2.984375, 2.984375
    ]  # fmt: skip


def test_the_range_of_the_inputs_is_a_moving_average_with_a_hundredth_of_the_newest() -> None:
    layer = learning(torch.eye(4))
    layer(FIRST_INPUT)
    layer(torch.tensor([[-3.0, 0.5, 0.0, 0.0]]))
    ranges = learned_ranges({NAME: layer})[NAME]
    # minimum -1 + (-3 + 1) / 100, maximum 2.984375 + (0.5 - 2.984375) / 100
    assert ranges.input_scale.item() == pytest.approx((1.02 + 2.95953125) / 255)
    assert ranges.input_zero_point.item() == 65  # 1.02 / 0.015606 = 65.36


@pytest.mark.parametrize(
    ("values", "scale", "zero_point"),
    [([2.0, 5.1], 0.02, 0), ([-5.1, -2.0], 0.02, 255), ([0.0, 2.55], 0.01, 0), ([-1.275, 1.275], 0.01, None)],
    ids=["positive", "negative", "from-zero", "around-zero"],
)
def test_the_range_of_the_inputs_is_widened_to_zero(
    values: list[float], scale: float, zero_point: int | None
) -> None:
    layer = learning(torch.ones(1, 2))
    layer(torch.tensor([values]))
    ranges = learned_ranges({NAME: layer})[NAME]
    assert ranges.input_scale.item() == pytest.approx(scale)
    allowed = (127, 128) if zero_point is None else (zero_point,)  # 127.5 steps below zero
    assert ranges.input_zero_point.item() in allowed


@settings(max_examples=40, deadline=None)
@given(low=st.floats(-1e3, 1e3, width=32), high=st.floats(-1e3, 1e3, width=32))
def test_an_input_of_zero_stays_exactly_zero(low: float, high: float) -> None:
    layer = learning(torch.ones(1, 2))
    layer(torch.tensor([[low, high]]))
    assert layer.eval().input_quantizer(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_layer_multiplies_what_was_rounded(per_channel: bool) -> None:
    weight = random_weight(1, 0.5)
    layer = learning(weight, per_channel=per_channel)
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(2))
    found = layer(x).detach().numpy()
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    input_scale = (high - low) / 255
    inputs = rounded(x, input_scale, int(np.rint(-low / input_scale)), 0, 255)
    scales = weight.abs().amax(dim=1) if per_channel else weight.abs().max().expand(6)
    weights = np.stack(
        [rounded(row, float(scale) / 127, 0, -127, 127) for row, scale in zip(weight, scales, strict=True)]
    )
    np.testing.assert_allclose(found, inputs @ weights.T, atol=1e-5)


def test_watching_alone_learns_the_same_ranges_and_changes_no_output() -> None:
    weight, x = random_weight(3), torch.randn(4, 8)
    watching, rounding = quantized(weight), learning(weight)
    learn_ranges({NAME: watching}, rounding=False)
    rounding(x)
    assert torch.equal(watching(x), nn.functional.linear(x, weight))
    found, expected = learned_ranges({NAME: watching})[NAME], learned_ranges({NAME: rounding})[NAME]
    assert found.weight_scale.item() == pytest.approx(float(weight.abs().max()) / 127)
    assert torch.equal(found.weight_scale, expected.weight_scale)
    assert torch.equal(found.input_scale, expected.input_scale)
    assert torch.equal(found.input_zero_point, expected.input_zero_point)
    freeze_ranges({NAME: watching})
    assert torch.equal(watching.eval()(x), rounding.eval()(x))


def test_gradients_pass_through_inside_the_range_and_stop_outside() -> None:
    layer = learning(torch.tensor([[0.51, -1.0, 0.3, 0.1]]))
    layer(FIRST_INPUT)
    freeze_ranges({NAME: layer})
    with torch.no_grad():
        layer.weight[0, 1] = -2.0  # below the frozen range
    x = torch.tensor([[0.3, 1.0, 50.0, -0.1]], requires_grad=True)
    layer(x).sum().backward()
    scale = 1 / 127
    # Of a weight, the rounded input; of an input, the rounded weight: 64.77, 38.1 and 12.7 steps.
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [pytest.approx([19 / 64, 0.0, 2.984375, -6 / 64])]
    assert x.grad is not None
    assert x.grad.tolist() == [pytest.approx([65 * scale, -127 * scale, 0.0, 13 * scale])]


@pytest.mark.parametrize("per_channel", [False, True])
def test_nothing_is_learned_in_evaluation(per_channel: bool) -> None:
    layer = learning(random_weight(4), per_channel=per_channel)
    layer(FIRST_INPUT.repeat(1, 2))
    before = learned_ranges({NAME: layer})[NAME]
    layer.eval()
    layer(1000 * torch.randn(4, 8))
    after = learned_ranges({NAME: layer})[NAME]
    assert torch.equal(after.weight_scale, before.weight_scale)
    assert torch.equal(after.input_scale, before.input_scale)
    assert torch.equal(after.input_zero_point, before.input_zero_point)
    layer.train()
    layer(1000 * torch.randn(4, 8))
    assert learned_ranges({NAME: layer})[NAME].input_scale > before.input_scale


@pytest.mark.parametrize("per_channel", [False, True])
def test_frozen_ranges_stay_whatever_the_data_and_the_weights_become(per_channel: bool) -> None:
    layer = learning(random_weight(5), per_channel=per_channel)
    layer(FIRST_INPUT.repeat(1, 2))
    before = learned_ranges({NAME: layer})[NAME]
    freeze_ranges({NAME: layer})
    layer.train()
    with torch.no_grad():
        layer.weight.mul_(10)
    layer(1000 * torch.randn(4, 8))
    after = learned_ranges({NAME: layer})[NAME]
    assert torch.equal(after.weight_scale, before.weight_scale)
    assert torch.equal(after.input_scale, before.input_scale)
    assert torch.equal(after.input_zero_point, before.input_zero_point)
    assert layer.input_quantizer(torch.tensor([1e6])).item() == 2.984375
    assert layer.weight_quantizer(layer.weight).abs().max() <= 127 * before.weight_scale.max() + 1e-6


def test_ranges_are_refused_of_a_layer_that_saw_nothing() -> None:
    layer = learning(random_weight(6))
    with pytest.raises(QuantizationError, match=r"0\.weight has no range of its inputs"):
        learned_ranges({NAME: layer})
    layer.eval()(torch.ones(1, 8))
    with pytest.raises(QuantizationError, match="give it inputs in training first"):
        learned_ranges({NAME: layer})


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_ranges_are_refused_of_a_layer_that_saw_an_infinite_input(value: float) -> None:
    layer = learning(random_weight(7))
    layer(torch.tensor([[value, *[1.0] * 7]]))
    with pytest.raises(QuantizationError, match=r"0\.weight has no range.*inf.*finite"):
        learned_ranges({NAME: layer})
