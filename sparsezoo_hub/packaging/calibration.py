"""Calibration: the ranges of an int8 model from what its layers see, without training."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization.observer import MinMaxObserver, PerChannelMinMaxObserver
from transformers import PreTrainedModel

from sparsezoo_hub.core.fake_quantization import LARGEST_CODE, LayerRanges
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.errors import QuantizationError


def calibrate(
    model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], *, per_channel: bool = False
) -> dict[str, LayerRanges]:
    """Return ranges for the linear layers of the encoder that hold all that they see in ``batches``.

    This is post-training quantization: weights symmetric, inputs from their smallest to their largest value,
    with 0 among them. The model computes in floats and keeps its mode and its weights.

    Args:
        model: an encoder of transformers, with or without a head.
        batches: of inputs, on the model's device; each tensor (batch, length).
        per_channel: whether each output feature of a weight has a range of its own.

    Raises:
        QuantizationError: if a layer sees no input, or one that is not finite.
        TargetError: if the model has no linear layer in an encoder.
    """
    layers = match_targets(model, ("encoder",))
    observers: dict[str, Any] = {
        name: MinMaxObserver(dtype=torch.quint8, qscheme=torch.per_tensor_affine) for name in layers
    }
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: _observe(observers[name], inputs[0]))
        for name, module in layers.items()
    ]
    training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            for batch in batches:
                model(**batch)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return {name: _ranges(name, module, observers[name], per_channel) for name, module in layers.items()}


def _observe(observer: Any, values: Tensor) -> None:
    observer(values.detach().float().cpu())


def _ranges(name: str, module: nn.Linear, observer: Any, per_channel: bool) -> LayerRanges:
    if not bool(torch.isfinite(observer.min_val) & torch.isfinite(observer.max_val)):
        raise QuantizationError(
            f"{name} sees inputs from {observer.min_val.item()} to {observer.max_val.item()} in the "
            "calibration: give it text, and a model whose activations are finite"
        )
    scale, zero_point = observer.calculate_qparams()
    weight = module.weight.detach().float().cpu()
    codes: dict[str, Any] = {"dtype": torch.qint8, "quant_min": -LARGEST_CODE, "quant_max": LARGEST_CODE}
    weights: Any = (
        PerChannelMinMaxObserver(ch_axis=0, qscheme=torch.per_channel_symmetric, **codes)
        if per_channel
        else MinMaxObserver(qscheme=torch.per_tensor_symmetric, **codes)
    )
    weights(weight)
    return LayerRanges(
        weight_scale=weights.calculate_qparams()[0].float(),
        input_scale=scale.float(),
        input_zero_point=zero_point.to(torch.int32),
    )
