import dataclasses
from types import SimpleNamespace

import pytest
import torch
from engine_case import INSTRUCTIONS, MULTIPLIES_BFLOATS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.packed_bfloat import PackedBfloat, pack_bfloat
from sparsezoo_hub.runtime.packed_encoder import LINEARS, EncoderShape, PackedEncoder, PackedLayer
from sparsezoo_hub.runtime.packed_linear import AnyLinear, PackedParts, linear_from, pack_linear
from sparsezoo_hub.runtime.torch_encoder import torch_encode


def sparse_weight(num_outputs: int, num_inputs: int, density: float, seed: int) -> Tensor:
    """In bfloat16; its second row, if it has one, is empty."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(num_outputs, num_inputs, generator=generator) / num_inputs**0.5
    weight *= torch.rand(num_outputs, num_inputs, generator=generator) < density
    weight[1:2] = 0
    return weight.bfloat16()


def layer(weight: Tensor, block: int = 40) -> PackedBfloat:
    bias = 0.1 * torch.randn(len(weight), generator=torch.Generator().manual_seed(len(weight)))
    return pack_bfloat(weight, bias, block)


@given(
    num_outputs=st.integers(1, 20),
    num_inputs=st.integers(1, 250),
    block=st.integers(1, 130),
    density=st.floats(0, 1),
)
def test_a_packed_weight_is_read_back_as_it_was(
    num_outputs: int, num_inputs: int, block: int, density: float
) -> None:
    weight = sparse_weight(num_outputs, num_inputs, density, seed=num_inputs)
    packed = layer(weight, block)
    packed.check("weight")
    assert packed.weight().dtype == torch.bfloat16
    assert torch.equal(packed.weight(), weight)


def test_rows_of_an_odd_number_of_weights_are_filled_up_with_a_zero() -> None:
    weight = torch.zeros(3, 8)
    weight[0, 1], weight[0, 2], weight[0, 4] = 5, -6, 7
    weight[2, 0], weight[2, 5], weight[2, 7] = 8, 9, 10
    packed = pack_bfloat(weight, torch.zeros(3), block=6)
    # blocks of inputs 0 to 5, 6 to 7; counted in groups of two
    assert packed.starts.tolist() == [[0, 2, 2, 3], [3, 3, 3, 4]]
    assert packed.values.tolist() == [5, -6, 7, 0, 8, 9, 10, 0]
    assert packed.inputs.tolist() == [1, 2, 4, 0, 0, 5, 1, 0]


def test_weights_are_rounded_to_bfloat16_and_those_that_become_zeros_are_left_out() -> None:
    # bfloat16 has 8 bits: halves go to even, and 1e-45 is too small for it.
    weight = torch.tensor([[1 + 2**-8, 1 + 3 * 2**-8, 1e-45, -3.0]])
    packed = pack_bfloat(weight, torch.tensor([10.0]))
    assert packed.values.tolist() == [1.0, 1 + 2**-6, -3.0, 0.0]
    assert packed.inputs.tolist() == [0, 1, 3, 0]
    # In torch, inputs are not rounded.
    inputs = torch.tensor([[1 + 2**-20, 0.0, 9.0, 2.0]])
    assert packed.multiply(inputs).tolist() == [[1 + 2**-20 - 6 + 10]]


class Exact:
    """A bfloat16 layer in plain torch, whose inputs are rounded where the processor rounds them."""

    def __init__(self, packed: AnyLinear, instructions: str) -> None:
        self.weight, self.bias = packed.weight().float(), packed.bias
        self.rounds = isinstance(packed, PackedBfloat) and instructions in MULTIPLIES_BFLOATS

    def multiply(self, inputs: Tensor) -> Tensor:
        rounded = inputs.bfloat16().float() if self.rounds else inputs
        return (rounded.double() @ self.weight.double().T).float() + self.bias


def exactly(encoder: PackedEncoder, hidden: Tensor, starts: Tensor, instructions: str) -> Tensor:
    """What an encoder of bfloat16 layers gives, attention in float32."""
    layers = []
    for packed in encoder.layers:
        linears = {name: Exact(getattr(packed, name), instructions) for name in LINEARS}
        layers.append(SimpleNamespace(**{**vars(packed), **linears}))
    return torch_encode(SimpleNamespace(shape=encoder.shape, layers=layers), hidden, starts)


def encoded(encoder: PackedEncoder, hidden: Tensor, starts: Tensor, instructions: str) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(engine.VARIABLE, instructions)
        return encoder.encode(hidden, starts)


def alone(packed: PackedBfloat) -> PackedEncoder:
    """An encoder whose output is LayerNorm(LayerNorm(values + input)), values by a third of a layer."""
    hidden = packed.num_inputs
    same, nothing = pack_linear(torch.eye(hidden), torch.zeros(hidden)), torch.zeros(hidden, hidden)
    none = pack_linear(nothing, torch.zeros(hidden))
    gain, bias = torch.ones(hidden), torch.zeros(hidden)
    only = PackedLayer(packed, same, none, none, gain, bias, gain, bias)
    return PackedEncoder(EncoderShape(hidden, hidden, 1, "relu", 1e-12), (only,))


@settings(max_examples=80, deadline=None)
@given(
    num_features=st.integers(3, 130),
    num_tokens=st.integers(1, 150),
    block=st.integers(1, 140),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    instructions=st.sampled_from(INSTRUCTIONS),
)
def test_one_layer_gives_the_products_of_rounded_inputs_where_the_processor_rounds(
    num_features: int, num_tokens: int, block: int, density: float, instructions: str
) -> None:
    weight = sparse_weight(3 * num_features, num_features, density, seed=block)
    weight[2 * num_features + 1] = 0
    encoder = alone(layer(weight, block))
    hidden = torch.randn(num_tokens, num_features, generator=torch.Generator().manual_seed(num_tokens))
    starts = torch.arange(num_tokens + 1, dtype=torch.int32)  # a token alone attends to itself
    result = encoded(encoder, hidden, starts, instructions)
    expected = exactly(encoder, hidden, starts, instructions)
    # A relative 2^-9, by which rounding changes an input, would be seen.
    torch.testing.assert_close(result, expected, rtol=2e-5, atol=2e-5)


def random_encoder(head_size: int, num_heads: int, inner: int, density: float) -> PackedEncoder:
    hidden = head_size * num_heads
    sizes = ((3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner))
    layers = []
    for number in (0, 7):
        linears = (
            layer(sparse_weight(*size, density, seed=number + part)) for part, size in enumerate(sizes)
        )
        layers.append(PackedLayer(*linears, *(1 + 0.1 * torch.randn(hidden) for _ in range(4))))
    return PackedEncoder(EncoderShape(hidden, inner, num_heads, "gelu", 1e-12), tuple(layers))


@settings(max_examples=60, deadline=None)
@given(
    head_size=st.integers(3, 33),
    num_heads=st.integers(2, 4),
    inner=st.integers(1, 90),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    lengths=st.lists(st.integers(0, 150), min_size=1, max_size=5),
    instructions=st.sampled_from(INSTRUCTIONS),
)
def test_the_kernels_compute_what_torch_computes_of_rounded_inputs(
    head_size: int, num_heads: int, inner: int, density: float, lengths: list[int], instructions: str
) -> None:
    torch.manual_seed(0)
    encoder = random_encoder(head_size, num_heads, inner, density)
    starts = torch.tensor([0, *lengths]).cumsum(dim=0).to(torch.int32)
    hidden = torch.randn(sum(lengths), head_size * num_heads)
    expected = exactly(encoder, hidden, starts, instructions)
    result = encoded(encoder, hidden, starts, instructions)
    # Where inputs are rounded, the last digit of a float decides which way: a few are 2^-8 away.
    off = 3e-2 if instructions in MULTIPLIES_BFLOATS else 1e-4
    torch.testing.assert_close(result, expected, rtol=off, atol=off)
    if len(result):
        assert float((result - expected).abs().mean()) < off / 10


def broken(linear: AnyLinear, **changes: object) -> AnyLinear:
    return dataclasses.replace(linear, **changes)


def test_packed_weights_that_would_lead_outside_are_refused() -> None:
    good = layer(sparse_weight(6, 50, 0.3, seed=1), block=20)
    good.check("x")
    starts, inputs, far = good.starts.clone(), good.inputs.clone(), good.inputs.clone()
    starts[1, 2] += 1000
    inputs[-2] = 10  # the last block has ten
    far[0] = 65_000
    cases = {
        "starts goes back": broken(good, starts=starts),
        "outside of its block of 10": broken(good, inputs=inputs),
        "outside of its block of 20": broken(good, inputs=far),
        "values has the dtype torch.float32": broken(good, values=good.values.float()),
        "values has the dtype torch.float16": broken(good, values=good.values.half()),
        "bias has the dtype torch.bfloat16": broken(good, bias=good.bias.bfloat16()),
        "starts has the shape": broken(good, starts=good.starts[:-1]),
        "does not end where": broken(good, values=good.values[:-2], inputs=good.inputs[:-2]),
        "values and": broken(good, values=good.values[:-1]),
        "values has the shape": broken(good, values=good.values.view(-1, 2)),
        "block is 0": broken(good, block=0),
        "block is 32768": broken(good, block=32_768),
        "num_inputs is '50'": broken(good, num_inputs="50"),
    }
    for words, linear in cases.items():
        with pytest.raises(PackageError, match=f"x: .*{words}.*export the model again"):
            linear.check("x")


def test_a_layer_is_made_again_of_its_tensors_and_numbers_alone_and_among_others() -> None:
    bfloat = layer(sparse_weight(6, 50, 0.3, seed=1))
    floats = pack_linear(torch.ones(4, 50), torch.zeros(4))
    inputs = torch.randn(9, 50)
    for linear in (bfloat, PackedParts((floats, bfloat))):
        again = linear_from(linear.tensors(), linear.numbers(), "x")
        assert type(again) is type(linear)
        assert torch.equal(again.multiply(inputs), linear.multiply(inputs))
    assert bfloat.numbers() == {"kind": "bfloat16", "num_inputs": 50, "block": 40}
    with pytest.raises(PackageError, match="missing or unknown: values"):
        linear_from(
            {name: each for name, each in bfloat.tensors().items() if name != "values"}, bfloat.numbers(), "x"
        )


def test_a_90_percent_sparse_layer_takes_less_than_an_eighth_of_its_floats() -> None:
    packed = layer(sparse_weight(256, 768, 0.1, seed=0), block=768)
    assert sum(each.nbytes for each in packed.tensors().values()) < 4 * 256 * 768 / 8
