"""Encoder packing: what the engine computes of a model of transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from sparsezoo_hub.errors import BackboneError, QuantizationError
from sparsezoo_hub.runtime.packed_bfloat import BFLOAT16, pack_bfloat
from sparsezoo_hub.runtime.packed_encoder import (
    ACTIVATIONS,
    ATTENTIONS,
    LINEARS,
    EncoderShape,
    PackedEncoder,
    PackedLayer,
)
from sparsezoo_hub.runtime.packed_int8 import pack_int8
from sparsezoo_hub.runtime.packed_linear import AnyLinear, PackedLinear, PackedParts, own, pack_linear

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
class _Precision:
    """Ranges of the layers in int8, and the dtype of the others; None is that of their weights."""

    ranges: Mapping[nn.Linear, LayerRanges]
    dtype: torch.dtype | None


def pack_encoder(
    model: nn.Module,
    ranges: Mapping[str, LayerRanges] | None = None,
    dtype: torch.dtype | None = None,
    attention: torch.dtype | None = None,
) -> PackedEncoder:
    """Return the packed encoder of a model of transformers, with any head.

    Args:
        model: whose layers are packed, and stay as they are.
        ranges: by component name; the layers that have some are computed in int8. None takes those by which
            the model rounds already, if it does. What lies outside of the encoder's layers is not packed, and
            its ranges are ignored.
        dtype: of the other layers, float32 or bfloat16; None is bfloat16 for weights that are, else float32.
        attention: in what attention may be computed, float32 or bfloat16; None is bfloat16 if a layer is
            rounded (to int8 or bfloat16), else float32.

    Raises:
        BackboneError: if it is none of those that the engine computes, or a dtype is none of these.
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
    stack = layer_stack(base_model(model)).layer
    layers = tuple(_pack_layer(layer, names, _Precision(ranged, dtype)) for layer in stack)
    if attention is None:
        attention = torch.bfloat16 if any(map(_is_rounded, layers)) else torch.float32
    return PackedEncoder(replace(shape, attention=dtype_name(attention)), layers)


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


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype that the engine computes in.

    Raises:
        BackboneError: if it is another one.
    """
    try:
        return check_choice(str(dtype).removeprefix("torch."), ATTENTIONS, "dtype of the sparse engine")
    except ValueError as error:
        raise BackboneError(str(error)) from None


def _is_rounded(layer: PackedLayer) -> bool:
    for linear in (getattr(layer, name) for name in LINEARS):
        parts = linear.parts if isinstance(linear, PackedParts) else (linear,)
        if any(not isinstance(part, PackedLinear) for part in parts):
            return True
    return False


def _pack_layer(layer: nn.Module, names: Any, precision: _Precision) -> PackedLayer:
    def module(name: str) -> Any:
        return layer.get_submodule(name)

    projections, mixed_name, attention_norm, up_name, down_name, output_norm = names
    norms = [module(attention_norm), module(output_norm)]
    gain, bias, output_gain, output_bias = (own(each) for norm in norms for each in (norm.weight, norm.bias))
    projected = _pack_linears([module(name) for name in projections], precision)
    mixed, up, down = (_pack_linears([module(name)], precision) for name in (mixed_name, up_name, down_name))
    return PackedLayer(projected, mixed, up, down, gain, bias, output_gain, output_bias)


def _pack_linears(modules: list[nn.Linear], precision: _Precision) -> AnyLinear:
    """Return linear layers of the same inputs as one, in parts if they do not round these alike."""
    ranges = precision.ranges
    roundings = {
        (float(found.input_scale), int(found.input_zero_point)) if found else None
        for found in map(ranges.get, modules)
    }
    if len(roundings) > 1:
        parts = (_pack_linears([module], precision) for module in modules)
        return PackedParts(tuple(part for part in parts if not isinstance(part, PackedParts)))
    bias = torch.cat([own(module.bias) for module in modules])
    rounding = roundings.pop()
    if rounding is None:
        weight = torch.cat([module.weight for module in modules])
        if _is_bfloat(precision.dtype, weight):
            return pack_bfloat(weight, bias)
        return pack_linear(weight, bias)
    codes, scales = zip(*(_codes_and_scales(module, ranges[module]) for module in modules), strict=True)
    return pack_int8(torch.cat(codes), torch.cat(scales), bias, *rounding)


def _is_bfloat(dtype: torch.dtype | None, weight: Tensor) -> bool:
    if dtype is None:
        return weight.dtype == torch.bfloat16
    return dtype_name(dtype) == BFLOAT16


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
