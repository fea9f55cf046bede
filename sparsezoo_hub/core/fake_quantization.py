"""Fake quantization: linear layers that compute as int8 would, in floats, and learn the ranges for it.

Weights are symmetric int8, inputs asymmetric uint8, biases and everything else stay as they are (Prune OFA,
appendix D; with Q8BERT's moving averages of the inputs' minimum and maximum). A weight of 0 stays 0, for the
zero point of the weights is 0. Observers and fake quantization are torch's own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torch.nn.functional import linear

from sparsezoo_hub.core.input_observer import InputObserver
from sparsezoo_hub.core.sharding import whole
from sparsezoo_hub.core.targets import linear_modules, match_targets
from sparsezoo_hub.errors import QuantizationError

# Of the newest batch in the moving average of the inputs' ranges; torch's and SparseML's value.
_INPUT_AVERAGING = 0.01
# The largest code of a weight, on both sides.
LARGEST_CODE = 127


@dataclass(frozen=True)
class LayerRanges:
    """What one linear layer needs to compute in int8.

    Args:
        weight_scale: float32; one value, or one per output feature. The weight's zero point is 0.
        input_scale: float32, one value.
        input_zero_point: int32, one value in [0, 255].
    """

    weight_scale: Tensor
    input_scale: Tensor
    input_zero_point: Tensor


_PARTS = tuple(field.name for field in fields(LayerRanges))


class FakeQuantizedLinear(nn.Linear):
    """A linear layer whose weight and input are rounded to what int8 can hold; gradients pass through.

    A linear layer becomes one where it stands (``fake_quantize``), so its parameters, hooks and pattern lock
    stay what they are.
    """

    weight_quantizer: FakeQuantize
    input_quantizer: FakeQuantize
    learns_ranges: bool

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` (..., in_features) times the weight, plus the bias: (..., out_features)."""
        return linear(self.input_quantizer(input.float()), self.weight_quantizer(self.weight), self.bias)

    def train(self, mode: bool = True) -> "FakeQuantizedLinear":
        """Set the mode; ranges are learned only in training."""
        super().train(mode)
        self.weight_quantizer.enable_observer(mode and self.learns_ranges)
        self.input_quantizer.enable_observer(mode and self.learns_ranges)
        return self


def fake_quantize(
    model: nn.Module,
    targets: Sequence[str] = ("encoder",),
    ignore: Sequence[str] = (),
    *,
    per_channel: bool = False,
) -> dict[str, FakeQuantizedLinear]:
    """Let the targets compute as int8 would, and return them by component name.

    Until ``learn_ranges`` they compute as before.

    Args:
        model: a transformers model, locked or not.
        targets: as in ``match_targets``. Task heads, embeddings and norms are never among them.
        ignore: as in ``match_targets``.
        per_channel: whether each output feature of a weight has a range of its own.

    Raises:
        TargetError: if a target matches nothing.
    """
    chosen = match_targets(model, targets, ignore)
    for module in chosen.values():
        _convert(module, per_channel)
    return fake_quantized(model)


def fake_quantized(model: nn.Module) -> dict[str, FakeQuantizedLinear]:
    """Return the layers of ``model`` that compute as int8 would, by component name."""
    return {
        name: module
        for name, module in linear_modules(model).items()
        if isinstance(module, FakeQuantizedLinear)
    }


def learn_ranges(layers: Mapping[str, FakeQuantizedLinear], *, rounding: bool = True) -> None:
    """Let the layers learn their ranges from what they see in training, and round by them.

    Args:
        layers: of ``fake_quantize``.
        rounding: False to watch only, for a calibration.
    """
    for layer in layers.values():
        layer.learns_ranges = True
        layer.train(layer.training)
        layer.weight_quantizer.enable_fake_quant(rounding)
        layer.input_quantizer.enable_fake_quant(rounding)


def begin_step(
    layers: Mapping[str, FakeQuantizedLinear], share: Callable[[Tensor], Tensor] | None = None
) -> None:
    """Let what the layers see until the next call count as one batch.

    Args:
        layers: of ``fake_quantize``.
        share: from a process's largest values to those of all processes; None for one process.
    """
    for layer in layers.values():
        observer = layer.input_quantizer.activation_post_process
        assert isinstance(observer, InputObserver)  # noqa: S101 - for the type checker
        observer.share = share
        observer.begin_step()


def freeze_ranges(layers: Mapping[str, FakeQuantizedLinear]) -> None:
    """Keep the ranges as they are from now on, and round by them."""
    for layer in layers.values():
        _follow_weight(layer)
        layer.learns_ranges = False
        for quantizer in (layer.weight_quantizer, layer.input_quantizer):
            quantizer.disable_observer()
            quantizer.enable_fake_quant()


def learned_ranges(layers: Mapping[str, FakeQuantizedLinear]) -> dict[str, LayerRanges]:
    """Return the ranges of every layer, the weight's as it is now if its range was not frozen.

    Raises:
        QuantizationError: if a layer has seen no input, or one that is not finite.
    """
    ranges = {}
    for name, layer in layers.items():
        observer: Any = layer.input_quantizer.activation_post_process
        if not bool(torch.isfinite(observer.min_val).all() & torch.isfinite(observer.max_val).all()):
            raise QuantizationError(
                f"{name} has no range of its inputs (minimum {observer.min_val.tolist()}, maximum "
                f"{observer.max_val.tolist()}): give it inputs in training first, all of them finite"
            )
        _follow_weight(layer)
        ranges[name] = LayerRanges(
            weight_scale=_copied(layer.weight_quantizer.scale),
            input_scale=_copied(layer.input_quantizer.scale),
            input_zero_point=_copied(layer.input_quantizer.zero_point),
        )
    return ranges


def apply_ranges(model: nn.Module, ranges: Mapping[str, LayerRanges]) -> None:
    """Let the layers that ``ranges`` names compute as int8 would, by these ranges.

    Raises:
        QuantizationError: if the model has no such layer, or the ranges are not those of its shape.
    """
    modules = linear_modules(model)
    for name, each in ranges.items():
        if name not in modules:
            raise QuantizationError(f"the model has no {name}: these ranges are those of another model")
        if each.weight_scale.numel() not in (1, modules[name].out_features):
            raise QuantizationError(
                f"{name} has {modules[name].out_features} output features, its ranges "
                f"{each.weight_scale.numel()}: these ranges are those of another model"
            )
    for name, each in ranges.items():
        layer = _convert(modules[name], per_channel=each.weight_scale.numel() > 1)
        device = layer.weight.device
        for quantizer, scale, zero_point in (
            (layer.weight_quantizer, each.weight_scale, torch.zeros_like(each.weight_scale)),
            (layer.input_quantizer, each.input_scale, each.input_zero_point),
        ):
            quantizer.scale = scale.to(device, copy=True)
            quantizer.zero_point = zero_point.to(device, torch.int32, copy=True)
        observer: Any = layer.input_quantizer.activation_post_process
        smallest = -each.input_zero_point.float() * each.input_scale
        observer.min_val = smallest.squeeze().to(device)
        observer.max_val = (smallest + 255 * each.input_scale).squeeze().to(device)
        freeze_ranges({name: layer})


def remove_fake_quantization(model: nn.Module) -> None:
    """Make ordinary linear layers of the model's fake-quantized ones; their weights stay as they are."""
    for layer in fake_quantized(model).values():
        del layer.weight_quantizer, layer.input_quantizer, layer.learns_ranges
        layer.__class__ = nn.Linear  # type: ignore[assignment]


def ranges_tensors(ranges: Mapping[str, LayerRanges]) -> dict[str, Tensor]:
    """Return the ranges as named tensors, for a file."""
    return {f"{name}/{part}": getattr(each, part) for name, each in ranges.items() for part in _PARTS}


def tensors_ranges(tensors: Mapping[str, Tensor]) -> dict[str, LayerRanges]:
    """Return what ``ranges_tensors`` was given.

    Raises:
        QuantizationError: if a tensor is missing or unknown, or a value is outside its range.
    """
    names = list(dict.fromkeys(key.rpartition("/")[0] for key in tensors))
    expected = {f"{name}/{part}" for name in names for part in _PARTS}
    if expected != set(tensors):
        raise QuantizationError(
            f"ranges need {', '.join(_PARTS)} for every layer; these are missing or unknown: "
            f"{sorted(expected ^ set(tensors))[:3]}"
        )
    ranges = {name: LayerRanges(*(tensors[f"{name}/{part}"] for part in _PARTS)) for name in names}
    for name, each in ranges.items():
        scales = torch.cat([each.weight_scale.flatten(), each.input_scale.flatten()])
        wrong = scales[~(torch.isfinite(scales) & (scales > 0))]
        if len(wrong):
            raise QuantizationError(f"{name}: scales must be finite and above 0, got {wrong[0].item()}")
        zero_points = each.input_zero_point.tolist()
        if each.input_scale.numel() != 1 or zero_points not in ([code] for code in range(256)):
            raise QuantizationError(
                f"{name}: the input has one scale and one zero point in [0, 255], got "
                f"{each.input_scale.tolist()} and {zero_points}"
            )
    return ranges


@torch.no_grad()
def _follow_weight(layer: FakeQuantizedLinear) -> None:
    """Learn the weight's range as it is now: the last optimizer step has changed it since it was used."""
    if layer.learns_ranges:
        layer.weight_quantizer.enable_observer()
        layer.weight_quantizer(whole(layer.weight))
        layer.train(layer.training)


def _copied(values: Tensor | nn.Module) -> Tensor:
    assert isinstance(values, Tensor)  # noqa: S101 - for the type checker
    return values.detach().clone().cpu()


def _convert(module: nn.Linear, per_channel: bool) -> FakeQuantizedLinear:
    weight_observer: Any = {"observer": MovingAverageMinMaxObserver, "qscheme": torch.per_tensor_symmetric}
    if per_channel:
        weight_observer = {
            "observer": MovingAveragePerChannelMinMaxObserver,
            "qscheme": torch.per_channel_symmetric,
            "ch_axis": 0,
        }
    # The range of a weight is that of this step: nothing is averaged. It ends at a code on both sides, so
    # that the largest weight is not clipped, which would cost it its gradient. torch's fused quantizer would
    # be faster, but computes the scale anew from its observer even when that is off.
    weight_quantizer = FakeQuantize(  # type: ignore[no-untyped-call]
        quant_min=-LARGEST_CODE,
        quant_max=LARGEST_CODE,
        dtype=torch.qint8,
        averaging_constant=1.0,
        **weight_observer,
    )
    input_quantizer = FakeQuantize(  # type: ignore[no-untyped-call]
        observer=InputObserver,
        quant_min=0,
        quant_max=255,
        dtype=torch.quint8,
        qscheme=torch.per_tensor_affine,
        averaging_constant=_INPUT_AVERAGING,
    )
    # As torch itself does for parametrizations and FSDP2: the module, and whatever holds it, stay the same.
    module.__class__ = FakeQuantizedLinear
    assert isinstance(module, FakeQuantizedLinear)  # noqa: S101 - for the type checker
    module.learns_ranges = False
    for name, quantizer in (("weight_quantizer", weight_quantizer), ("input_quantizer", input_quantizer)):
        quantizer.disable_observer()
        quantizer.disable_fake_quant()
        setattr(module, name, quantizer.to(module.weight.device))
    module.train(module.training)
    return module
