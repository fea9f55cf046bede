import dataclasses

import pytest
import torch
from engine_case import INSTRUCTIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.packed_encoder import EncoderShape, PackedEncoder, PackedLayer
from sparsezoo_hub.runtime.packed_int8 import PackedInt8, pack_int8
from sparsezoo_hub.runtime.packed_linear import AnyLinear, PackedParts, linear_from, pack_linear
from sparsezoo_hub.runtime.torch_encoder import torch_encode


def random_codes(num_outputs: int, num_inputs: int, density: float, seed: int, least: int = 1) -> Tensor:
    """Of magnitudes from ``least`` to 127."""
    generator = torch.Generator().manual_seed(seed)
    shape = (num_outputs, num_inputs)
    codes = torch.randint(least, 128, shape, generator=generator) * (
        2 * torch.randint(0, 2, shape, generator=generator) - 1
    )
    return (codes * (torch.rand(shape, generator=generator) < density)).to(torch.int8)


def layer(
    codes: Tensor, *, input_scale: float = 0.0625, zero_point: int = 100, block: int = 384
) -> PackedInt8:
    num_outputs, num_inputs = codes.shape
    scales = torch.full((num_outputs,), 1 / (75 * num_inputs**0.5))
    return pack_int8(codes, scales, 0.1 * torch.randn(num_outputs), input_scale, zero_point, block)


@given(
    num_outputs=st.integers(1, 20),
    num_inputs=st.integers(1, 250),
    block=st.integers(1, 130),
    density=st.floats(0, 1),
)
def test_packed_codes_are_read_back_as_they_were(
    num_outputs: int, num_inputs: int, block: int, density: float
) -> None:
    codes = random_codes(num_outputs, num_inputs, density, seed=num_inputs)
    packed = layer(codes, block=block)
    packed.check("weight")
    assert torch.equal(packed.weight_codes(), codes)
    assert packed.sums.tolist() == codes.sum(dim=1).tolist()


def test_negative_weights_come_first_and_zeros_fill_pairs_and_groups() -> None:
    codes = torch.zeros(3, 8, dtype=torch.int8)
    codes[0, 1], codes[0, 2], codes[0, 4], codes[0, 5] = 5, -6, -7, -8
    codes[2, 0], codes[2, 7] = 9, 10
    packed = layer(codes, block=6)
    # blocks of inputs 0 to 5, 6 to 7; counted in groups of four
    assert packed.starts.tolist() == [[0, 2, 2, 3], [3, 3, 3, 4]]
    assert packed.codes.tolist() == [-6, -7, 0, -8, 5, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0]
    assert packed.inputs.tolist() == [2, 4, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert packed.sums.tolist() == [-16, 0, 19]


def test_a_product_by_hand() -> None:
    packed = pack_int8(
        torch.tensor([[3, -2]], dtype=torch.int8), torch.tensor([0.25]), torch.tensor([10.0]), 0.5, 4
    )
    # 1.25 / 0.5 is 2.5, halves go to even: 2; -9 / 0.5 is -18, the lowest code is 0, which is -4
    assert packed.multiply(torch.tensor([[1.25, -9.0]])).tolist() == [[(3 * 2 + 2 * 4) * 0.25 * 0.5 + 10]]


def random_encoder(
    head_size: int, num_heads: int, inner: int, density: float, least: int = 1
) -> PackedEncoder:
    hidden = head_size * num_heads

    def random(outputs: int, inputs: int, seed: int) -> PackedInt8:
        return layer(random_codes(outputs, inputs, density, seed, least), zero_point=17 * seed, block=40)

    projections = PackedParts(tuple(random(hidden, hidden, seed) for seed in (1, 2, 3)))
    norms = [1 + 0.1 * torch.randn(hidden) for _ in range(4)]
    packed = PackedLayer(
        projections, random(hidden, hidden, 4), random(inner, hidden, 5), random(hidden, inner, 6), *norms
    )
    return PackedEncoder(EncoderShape(hidden, inner, num_heads, "gelu", 1e-12), (packed,))


@settings(max_examples=40, deadline=None)
@given(
    head_size=st.integers(4, 33),
    num_heads=st.integers(2, 4),
    inner=st.integers(8, 90),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    least=st.sampled_from([1, 127]),
    size=st.sampled_from([1.0, 30.0]),
    lengths=st.lists(st.integers(0, 150), min_size=1, max_size=5),
    instructions=st.sampled_from(INSTRUCTIONS),
)
def test_the_kernels_compute_what_torch_computes(
    head_size: int,
    num_heads: int,
    inner: int,
    density: float,
    least: int,
    size: float,
    lengths: list[int],
    instructions: str,
) -> None:
    # With a size of 30, nearly every input is rounded to code 0 or 255; with least = 127, all weights are
    # extreme too.
    torch.manual_seed(0)
    encoder = random_encoder(head_size, num_heads, inner, density, least)
    starts = torch.tensor([0, *lengths]).cumsum(dim=0).to(torch.int32)
    hidden = size * torch.randn(sum(lengths), head_size * num_heads)
    expected = torch_encode(encoder, hidden, starts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(engine.VARIABLE, instructions)
        result = encoder.encode(hidden, starts)
    # Between two codes, the last digit of a float decides: some values may be a step of 1/16 away.
    torch.testing.assert_close(result, expected, rtol=0.05, atol=0.05)
    if len(result):
        assert float((result - expected).abs().mean()) < 2e-3


def broken(linear: AnyLinear, **changes: object) -> AnyLinear:
    return dataclasses.replace(linear, **changes)


def test_packed_codes_that_would_lead_outside_or_astray_are_refused() -> None:
    good = layer(random_codes(6, 50, 0.3, seed=1), block=20)
    good.check("x")
    starts, inputs, codes = good.starts.clone(), good.inputs.clone(), good.codes.clone()
    starts[1, 2] += 1000
    inputs[-4] = 10  # the last block has ten
    codes[0] = -codes[0] if codes[1] else 1
    low = good.codes.clone()
    low[:2] = -128
    cases = {
        "starts goes back": broken(good, starts=starts),
        "outside of its block of 10": broken(good, inputs=inputs),
        "differ in their signs": broken(good, codes=codes),
        "code is below -127": broken(good, codes=low),
        "codes has the dtype torch.int32": broken(good, codes=good.codes.int()),
        "starts has the shape": broken(good, starts=good.starts[:-1]),
        "does not end where": broken(good, codes=good.codes[:-4], inputs=good.inputs[:-4]),
        "codes and": broken(good, codes=good.codes[:-4]),
        "block is 0": broken(good, block=0),
        "block is 32768": broken(good, block=32_768),
        "num_inputs is '50'": broken(good, num_inputs="50"),
        "zero_point is 256": broken(good, zero_point=256),
        "zero_point is True": broken(good, zero_point=True),
        "input_scale is 0.0": broken(good, input_scale=0.0),
        "input_scale is nan": broken(good, input_scale=float("nan")),
        "no inverse in float32": broken(good, input_scale=1e-44),
        "scales are not finite": broken(good, scales=good.scales * float("inf")),
        "there are 5 scales": broken(good, scales=good.scales[:5]),
        "sums are larger": broken(good, sums=good.sums + 100_000),
    }
    for words, linear in cases.items():
        with pytest.raises(PackageError, match=f"x: .*{words}.*export the model again"):
            linear.check("x")


def test_rows_that_are_longer_than_their_block_are_refused() -> None:
    # The same input feature again and again: nothing is read outside, but 32 bits might not hold the sum.
    good = layer(torch.ones(1, 8, dtype=torch.int8), block=8)
    many = broken(
        good,
        starts=torch.tensor([[0, 4]], dtype=torch.int32),
        inputs=good.inputs.repeat(2),
        codes=good.codes.repeat(2),
    )
    with pytest.raises(PackageError, match="more codes than its block of 8"):
        many.check("x")


def test_more_inputs_than_32_bits_hold_the_sums_of_are_refused() -> None:
    layer(torch.zeros(1, 65_000, dtype=torch.int8)).check("x")
    with pytest.raises(PackageError, match="32 bits do not hold the sums of 67000 products"):
        layer(torch.zeros(1, 67_000, dtype=torch.int8)).check("x")


def test_a_layer_of_any_kind_is_made_again_of_its_tensors_and_numbers() -> None:
    int8 = layer(random_codes(6, 50, 0.3, seed=1))
    sparse = pack_linear(int8.weight_codes().float(), int8.bias)
    dense = pack_linear(torch.ones(6, 50), int8.bias)
    inputs = torch.randn(9, 50)
    for linear in (int8, sparse, dense, PackedParts((sparse, int8, dense))):
        again = linear_from(linear.tensors(), linear.numbers(), "x")
        assert type(again) is type(linear)
        assert torch.equal(again.multiply(inputs), linear.multiply(inputs))


def test_tensors_and_numbers_of_no_layer_are_refused() -> None:
    int8 = layer(random_codes(6, 50, 0.3, seed=1))
    tensors, numbers = int8.tensors(), int8.numbers()
    parts = PackedParts((int8, int8))
    other = layer(random_codes(6, 51, 0.3, seed=1))
    without_bias = {name: each for name, each in tensors.items() if name != "bias"}
    cases = (
        ("kind None", tensors, {}),
        ("kind 'bf16'", tensors, {**numbers, "kind": "bf16"}),
        ("kind 'parts'", PackedParts((int8,)).tensors(), {"kind": "parts", "part0_kind": "parts"}),
        ("unknown: bias", without_bias, numbers),
        ("unknown: bias", without_bias, {**numbers, "bias": 1}),
        ("unknown: more", {**tensors, "more": int8.bias}, numbers),
        ("counted from 0", parts.tensors(), {**parts.numbers(), "part7_block": 1}),
        ("counted from 0", {}, {"kind": "parts"}),
        ("part 1: has 51 inputs", PackedParts((int8, other)).tensors(), PackedParts((int8, other)).numbers()),
    )
    for words, given_tensors, given_numbers in cases:
        with pytest.raises(PackageError, match=f"^x.*{words}.*export the model again"):
            linear_from(given_tensors, given_numbers, "x")


def test_a_90_percent_sparse_layer_takes_less_than_a_tenth_of_its_floats() -> None:
    packed = layer(random_codes(256, 768, 0.1, seed=0))
    assert sum(each.nbytes for each in packed.tensors().values()) < 0.1 * 4 * 256 * 768
