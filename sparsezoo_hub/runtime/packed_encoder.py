"""Packed encoders: all layers of a BERT, RoBERTa or DistilBERT as the engine computes them."""

import itertools
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsezoo_hub.core.fake_quantization import (
    FakeQuantizedLinear,
    LayerRanges,
    fake_quantized,
    learned_ranges,
)
from sparsezoo_hub.core.layer_dropping import layer_stack
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.targets import base_model, linear_modules
from sparsezoo_hub.core.weight_codes import weight_codes
from sparsezoo_hub.errors import BackboneError, PackageError, QuantizationError
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.packed_int8 import pack_int8
from sparsezoo_hub.runtime.packed_linear import AnyLinear, PackedParts, own, pack_linear
from sparsezoo_hub.runtime.torch_encoder import torch_encode

# What transformers' configurations call them, and the kernels' numbers.
ACTIVATIONS: Mapping[str, int] = {
    "gelu": 0,
    "gelu_new": 1,
    "gelu_pytorch_tanh": 1,
    "relu": 2,
    "silu": 3,
    "swish": 3,
}
LINEARS = ("projections", "mixed", "up", "down")
NORMS = ("attention_gain", "attention_bias", "output_gain", "output_bias")
# Where an architecture's layer has what becomes: queries, keys and values; the mixed values; LayerNorm; the
# feed-forward network; LayerNorm.
_BERT = (
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_DISTILBERT = (
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)
Ranges = Mapping[nn.Linear, LayerRanges]
ARCHITECTURES: Mapping[str, Any] = {"bert": _BERT, "roberta": _BERT, "distilbert": _DISTILBERT}


@dataclass(frozen=True)
class PackedLayer:
    """One layer: four linear layers, and the gains and biases (hidden_size,) of two LayerNorms."""

    projections: AnyLinear
    mixed: AnyLinear
    up: AnyLinear
    down: AnyLinear
    attention_gain: Tensor
    attention_bias: Tensor
    output_gain: Tensor
    output_bias: Tensor


@dataclass(frozen=True)
class EncoderShape:
    """What an encoder's layers have in common; ``activation`` is one of ``ACTIVATIONS``."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    activation: str
    epsilon: float


class PackedEncoder:
    """An encoder, packed.

    Args:
        shape: of every layer.
        layers: at least one.

    Raises:
        PackageError: if a layer is not of that shape, or cannot be trusted.
    """

    def __init__(self, shape: EncoderShape, layers: tuple[PackedLayer, ...]) -> None:
        self.shape = shape
        self.layers = layers
        _check(shape, layers)
        self._structure = _structure(shape, layers)
        self.number = next(_numbers)
        _encoders[self.number] = self

    def encode(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Return the last layer's hidden states, (num_tokens, hidden_size) float32.

        Args:
            hidden: (num_tokens, hidden_size) float32, the embeddings of sequences one after the other.
            starts: (num_sequences + 1,) int32, where each begins, and at the end num_tokens.
        """
        result: Tensor = _sparse_encode(hidden, starts, self.number)
        return result

    def compute(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Do what ``encode`` promises."""
        instructions = engine.chosen_instructions()
        if instructions == engine.TORCH:
            return torch_encode(self, hidden, starts)
        return engine.run_kernels(instructions, self._structure, hidden.contiguous(), starts.contiguous())


def pack_encoder(model: nn.Module, ranges: Mapping[str, LayerRanges] | None = None) -> PackedEncoder:
    """Return the packed encoder of a model of transformers, with any head.

    Args:
        model: whose layers are packed, and stay as they are.
        ranges: by component name; the layers that have some are computed in int8. None takes those by which
            the model rounds already, if it does. What lies outside of the encoder's layers is not packed, and
            its ranges are ignored.

    Raises:
        BackboneError: if it is none of those that the engine computes.
        PackageError: if a layer has too many inputs for sums of 32 bits.
        QuantizationError: if a layer's ranges do not fit it, or its weight is not finite.
    """
    config: Any = model.config
    shape = encoder_shape(model)
    if ranges is None:
        ranges = learned_ranges(_rounding(model))
    modules = linear_modules(model)
    unknown = next((name for name in ranges if name not in modules), None)
    if unknown is not None:
        raise QuantizationError(f"the model has no {unknown}: these ranges are those of another model")
    ranged = {modules[name]: each for name, each in ranges.items()}
    names = ARCHITECTURES[config.model_type]
    layers = tuple(_pack_layer(layer, names, ranged) for layer in layer_stack(base_model(model)).layer)
    return PackedEncoder(shape, layers)


def encoder_shape(model: nn.Module) -> EncoderShape:
    """Return the shape of a model's layers; reads no weight.

    Raises:
        BackboneError: if the engine does not compute it.
    """
    config: Any = model.config
    if config.model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise BackboneError(
            f"the sparse engine computes {known}, not {config.model_type}: use transformers for it"
        )
    is_distilbert = config.model_type == "distilbert"
    activation = config.activation if is_distilbert else config.hidden_act
    try:
        check_choice(str(activation), ACTIVATIONS, "activation function of the sparse engine")
    except ValueError as error:
        raise BackboneError(str(error)) from None
    if getattr(config, "is_decoder", False):
        raise BackboneError("the sparse engine computes encoders, and this model is a decoder (is_decoder)")
    layer = layer_stack(base_model(model)).layer[0]
    _, mixed, norm, up, _, _ = ARCHITECTURES[config.model_type]
    return EncoderShape(
        hidden_size=layer.get_submodule(mixed).out_features,
        intermediate_size=layer.get_submodule(up).out_features,
        num_heads=config.num_attention_heads,
        activation=str(activation),
        epsilon=float(layer.get_submodule(norm).eps),
    )


def _rounding(model: nn.Module) -> dict[str, FakeQuantizedLinear]:
    return {
        name: layer
        for name, layer in fake_quantized(model).items()
        if bool(layer.input_quantizer.fake_quant_enabled)
    }


def _pack_layer(layer: nn.Module, names: Any, ranges: Ranges) -> PackedLayer:
    def module(name: str) -> Any:
        return layer.get_submodule(name)

    projections, mixed_name, attention_norm, up_name, down_name, output_norm = names
    norms = [module(attention_norm), module(output_norm)]
    gain, bias, output_gain, output_bias = (own(each) for norm in norms for each in (norm.weight, norm.bias))
    projected = _pack_linears([module(name) for name in projections], ranges)
    mixed, up, down = (_pack_linears([module(name)], ranges) for name in (mixed_name, up_name, down_name))
    return PackedLayer(projected, mixed, up, down, gain, bias, output_gain, output_bias)


def _pack_linears(modules: list[nn.Linear], ranges: Ranges) -> AnyLinear:
    """Return linear layers of the same inputs as one, in parts if they do not round these alike."""
    roundings = {
        (float(found.input_scale), int(found.input_zero_point)) if found else None
        for found in map(ranges.get, modules)
    }
    if len(roundings) > 1:
        parts = (_pack_linears([module], ranges) for module in modules)
        return PackedParts(tuple(part for part in parts if not isinstance(part, PackedParts)))
    bias = torch.cat([own(module.bias) for module in modules])
    rounding = roundings.pop()
    if rounding is None:
        return pack_linear(torch.cat([module.weight for module in modules]), bias)
    codes, scales = zip(*(_codes_and_scales(module, ranges[module]) for module in modules), strict=True)
    return pack_int8(torch.cat(codes), torch.cat(scales), bias, *rounding)


def _codes_and_scales(module: nn.Linear, ranges: LayerRanges) -> tuple[Tensor, Tensor]:
    scales = ranges.weight_scale.flatten().float()
    if len(scales) not in (1, module.out_features):
        raise QuantizationError(
            f"a layer of {module.out_features} output features has ranges of {len(scales)}: these ranges are "
            "those of another model"
        )
    if not bool(torch.isfinite(module.weight).all()):
        raise QuantizationError("a weight is not finite, and int8 has no code for it: train the model again")
    return weight_codes(module.weight, scales), scales.expand(module.out_features)


def _check(shape: EncoderShape, layers: tuple[PackedLayer, ...]) -> None:
    hidden, inner = shape.hidden_size, shape.intermediate_size
    if not layers or shape.num_heads < 1 or hidden % shape.num_heads or min(hidden, inner) < 1:
        raise PackageError(
            f"{len(layers)} layers of hidden size {hidden}, {inner} in between, with {shape.num_heads} heads "
            "are no encoder"
        )
    sizes = {
        "projections": (3 * hidden, hidden),
        "mixed": (hidden, hidden),
        "up": (inner, hidden),
        "down": (hidden, inner),
    }
    for number, layer in enumerate(layers):
        for name, (outputs, inputs) in sizes.items():
            linear = getattr(layer, name)
            where = f"layer {number}, {name}"
            if (linear.num_outputs, linear.num_inputs) != (outputs, inputs):
                raise PackageError(
                    f"{where}: has {linear.num_outputs} x {linear.num_inputs} weights, "
                    f"{outputs} x {inputs} are needed"
                )
            linear.check(where)
        for name in NORMS:
            tensor = getattr(layer, name)
            if tensor.shape != (hidden,) or tensor.dtype != torch.float32:
                raise PackageError(
                    f"layer {number}, {name}: has {tuple(tensor.shape)} entries of {tensor.dtype}"
                )


def _structure(shape: EncoderShape, layers: tuple[PackedLayer, ...]) -> engine.Encoder:
    structures = (engine.Layer * len(layers))()
    for structure, layer in zip(structures, layers, strict=True):
        for name in LINEARS:
            linear = getattr(layer, name)
            parts = linear.parts if isinstance(linear, PackedParts) else (linear,)
            found = (engine.Linear * len(parts))(*(part.structure() for part in parts))
            setattr(structure, name, engine.Linears(len(parts), found))
        for name in NORMS:
            setattr(structure, name, getattr(layer, name).data_ptr())
    return engine.Encoder(
        len(layers),
        shape.hidden_size,
        shape.intermediate_size,
        shape.num_heads,
        ACTIVATIONS[shape.activation],
        shape.epsilon,
        structures,
    )


# A custom operator takes tensors and numbers; so encoders have numbers.
_numbers = itertools.count()
_encoders: "weakref.WeakValueDictionary[int, PackedEncoder]" = weakref.WeakValueDictionary()


@torch.library.custom_op("sparsezoo_hub::sparse_encode", mutates_args=())
def _sparse_encode(hidden: Tensor, starts: Tensor, encoder: int) -> Tensor:
    return _encoders[encoder].compute(hidden, starts)


@_sparse_encode.register_fake
def _(hidden: Tensor, starts: Tensor, encoder: int) -> Tensor:
    del starts, encoder
    return torch.empty_like(hidden)
