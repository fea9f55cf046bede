"""Packed encoders: all layers of a BERT, RoBERTa or DistilBERT as the engine computes them."""

import itertools
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.packed_bfloat import BFLOAT16
from sparsezoo_hub.runtime.packed_linear import AnyLinear, PackedParts
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
# In what attention may be computed, the first exactly.
ATTENTIONS = ("float32", BFLOAT16)
LINEARS = ("projections", "mixed", "up", "down")
NORMS = ("attention_gain", "attention_bias", "output_gain", "output_bias")


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
    """What an encoder's layers have in common; ``activation`` is one of ``ACTIVATIONS``.

    ``attention`` is one of ``ATTENTIONS``: with ``bfloat16``, a processor that multiplies it rounds queries,
    keys, values and shares to it.
    """

    hidden_size: int
    intermediate_size: int
    num_heads: int
    activation: str
    epsilon: float
    attention: str = "float32"


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

    def with_attention(self, attention: str) -> "PackedEncoder":
        """Return an encoder of the same layers with ``attention``, one of ``ATTENTIONS``.

        Raises:
            ValueError: if it is none of them.
        """
        check_choice(attention, ATTENTIONS, "dtype of attention")
        return PackedEncoder(replace(self.shape, attention=attention), self.layers)

    def compute(self, hidden: Tensor, starts: Tensor) -> Tensor:
        """Do what ``encode`` promises."""
        instructions = engine.chosen_instructions()
        if instructions == engine.TORCH:
            return torch_encode(self, hidden, starts)
        return engine.run_kernels(instructions, self._structure, hidden.contiguous(), starts.contiguous())


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
        int(shape.attention == BFLOAT16),
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
