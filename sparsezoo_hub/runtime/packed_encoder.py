"""Packed encoders: all layers of a BERT, RoBERTa or DistilBERT as the engine computes them."""

import itertools
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsezoo_hub.core.layer_dropping import layer_stack
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.targets import base_model
from sparsezoo_hub.errors import BackboneError, PackageError
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.packed_linear import PackedLinear, own, pack_linear
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
ARCHITECTURES: Mapping[str, Any] = {"bert": _BERT, "roberta": _BERT, "distilbert": _DISTILBERT}


@dataclass(frozen=True)
class PackedLayer:
    """One layer: four linear layers, and the gains and biases (hidden_size,) of two LayerNorms."""

    projections: PackedLinear
    mixed: PackedLinear
    up: PackedLinear
    down: PackedLinear
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


def pack_encoder(model: nn.Module) -> PackedEncoder:
    """Return the packed encoder of a model of transformers, with any head.

    Raises:
        BackboneError: if it is none of those that the engine computes.
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
    stack = layer_stack(base_model(model))
    names = ARCHITECTURES[config.model_type]
    layers = tuple(_pack_layer(layer, names) for layer in stack.layer)
    shape = EncoderShape(
        hidden_size=len(layers[0].mixed.bias),
        intermediate_size=len(layers[0].up.bias),
        num_heads=config.num_attention_heads,
        activation=str(activation),
        epsilon=float(stack.layer[0].get_submodule(names[2]).eps),
    )
    return PackedEncoder(shape, layers)


def _pack_layer(layer: nn.Module, names: Any) -> PackedLayer:
    def module(name: str) -> Any:
        return layer.get_submodule(name)

    projections, mixed_name, attention_norm, up_name, down_name, output_norm = names
    three = [module(name) for name in projections]
    norms = [module(attention_norm), module(output_norm)]
    mixed, up, down = (
        pack_linear(module(name).weight, module(name).bias) for name in (mixed_name, up_name, down_name)
    )
    gain, bias, output_gain, output_bias = (own(each) for norm in norms for each in (norm.weight, norm.bias))
    weight = torch.cat([each.weight for each in three])
    projected = pack_linear(weight, torch.cat([each.bias for each in three]))
    return PackedLayer(projected, mixed, up, down, gain, bias, output_gain, output_bias)


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
            setattr(structure, name, getattr(layer, name).structure())
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
