import dataclasses

import pytest
import torch
from engine_case import INSTRUCTIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.packed_bfloat import pack_bfloat
from sparsezoo_hub.runtime.packed_encoder import EncoderShape, PackedEncoder, PackedLayer
from sparsezoo_hub.runtime.packed_int8 import pack_int8
from sparsezoo_hub.runtime.packed_linear import AnyLinear, pack_linear
from sparsezoo_hub.runtime.torch_encoder import torch_encode


def sparse_weight(num_outputs: int, num_inputs: int, density: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(num_outputs, num_inputs, generator=generator) / num_inputs**0.5
    return weight * (torch.rand(num_outputs, num_inputs, generator=generator) < density)


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
    packed = pack_linear(weight, torch.zeros(num_outputs), block)
    packed.check("weight")
    assert torch.equal(packed.weight(), weight)


def test_the_order_is_block_by_block_and_row_by_row() -> None:
    weight = torch.zeros(4, 8)
    weight[0, 4], weight[1, 0], weight[1, 2], weight[3, 7] = 1, 2, 3, 4
    packed = pack_linear(weight, torch.zeros(4), block=3)
    # blocks of inputs 0 to 2, 3 to 5, 6 to 7
    assert packed.starts.tolist() == [[0, 0, 2, 2, 2], [2, 3, 3, 3, 3], [3, 3, 3, 3, 4]]
    assert packed.inputs.tolist() == [0, 2, 1, 1]
    assert packed.values.tolist() == [2, 3, 1, 4]


def random_encoder(
    head_size: int, num_heads: int, inner: int, num_layers: int, density: float
) -> PackedEncoder:
    hidden = head_size * num_heads
    sizes = ((3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner))
    layers = []
    for number in range(num_layers):
        linears = [
            pack_linear(sparse_weight(*size, density, seed=7 * number + part), 0.1 * torch.randn(size[0]), 40)
            for part, size in enumerate(sizes)
        ]
        layers.append(PackedLayer(*linears, *(1 + 0.1 * torch.randn(hidden) for _ in range(4))))
    return PackedEncoder(EncoderShape(hidden, inner, num_heads, "gelu", 1e-12), tuple(layers))


@settings(max_examples=60, deadline=None)
@given(
    head_size=st.integers(1, 33),
    num_heads=st.integers(1, 4),
    inner=st.integers(1, 90),
    num_layers=st.integers(1, 2),
    density=st.sampled_from([0.0, 0.05, 0.3, 0.39, 0.41, 1.0]),
    lengths=st.lists(st.integers(0, 150), min_size=1, max_size=5),
    instructions=st.sampled_from(INSTRUCTIONS),
)
def test_the_kernels_compute_what_torch_computes(
    head_size: int,
    num_heads: int,
    inner: int,
    num_layers: int,
    density: float,
    lengths: list[int],
    instructions: str,
) -> None:
    torch.manual_seed(0)
    encoder = random_encoder(head_size, num_heads, inner, num_layers, density)
    starts = torch.tensor([0, *lengths]).cumsum(dim=0).to(torch.int32)
    hidden = torch.randn(sum(lengths), head_size * num_heads)
    expected = torch_encode(encoder, hidden, starts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(engine.VARIABLE, instructions)
        result = encoder.encode(hidden, starts)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def broken(linear: AnyLinear, **changes: object) -> AnyLinear:
    return dataclasses.replace(linear, **changes)


def test_packed_weights_that_would_lead_outside_are_refused() -> None:
    good = pack_linear(sparse_weight(6, 50, 0.2, seed=1), torch.zeros(6), block=20)
    good.check("x")
    starts, inputs = good.starts.clone(), good.inputs.clone()
    starts[1, 2] += 1000
    inputs[-1] = 11  # the last block has ten
    cases = {
        "goes back": broken(good, starts=starts),
        "outside of its block of 10": broken(good, inputs=inputs),
        "has the dtype torch.int64": broken(good, starts=good.starts.long()),
        "has the shape": broken(good, starts=good.starts[:-1]),
        "values and 55 inputs": broken(good, values=good.values[:-1]),
        "does not end where": broken(good, values=good.values[:-1], inputs=good.inputs[:-1]),
        "values has the shape": broken(good, block=0),
        "block is -1": broken(good, block=-1),
    }
    far = good.inputs.clone()
    far[0] = 65_000
    cases["outside of its block of 20"] = broken(good, inputs=far)
    for words, linear in cases.items():
        with pytest.raises(PackageError, match=f"x: .*{words}.*export the model again"):
            linear.check("x")


def test_starts_of_fewer_rows_than_there_are_biases_are_refused() -> None:
    weight, bias, more = sparse_weight(6, 50, 0.2, seed=1), torch.zeros(6), {"bias": torch.zeros(60)}
    codes = (100 * weight).to(torch.int8)
    int8 = pack_int8(codes, torch.ones(6), bias, 0.5, 4)
    scales = {"scales": torch.ones(60), "sums": torch.zeros(60, dtype=torch.int32)}
    for linear in (
        broken(pack_linear(weight, bias), **more),
        broken(pack_bfloat(weight, bias), **more),
        broken(int8, **more, **scales),
    ):
        with pytest.raises(PackageError, match=r"x: .*export the model again"):
            linear.check("x")


def test_layers_that_do_not_fit_each_other_are_refused() -> None:
    encoder = random_encoder(8, 2, 12, 1, 0.3)
    with pytest.raises(PackageError, match="layer 0, up: has 12 x 16 weights, 13 x 16 are needed"):
        PackedEncoder(dataclasses.replace(encoder.shape, intermediate_size=13), encoder.layers)
    with pytest.raises(PackageError, match="with 3 heads are no encoder"):
        PackedEncoder(dataclasses.replace(encoder.shape, num_heads=3), encoder.layers)
    short = dataclasses.replace(encoder.layers[0], output_gain=torch.ones(15))
    with pytest.raises(PackageError, match="layer 0, output_gain"):
        PackedEncoder(encoder.shape, (short,))
