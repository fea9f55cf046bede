"""Int8 layers: what an int8 ONNX file holds for each linear layer, and whether it is what it should be."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.exporters.exporter_onnx import OnnxExporter

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.core.weight_codes import weight_codes
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.onnx_int8 import CODES

_REMEDY = "package the model again"


@dataclass(frozen=True)
class Int8Layer:
    """One linear layer of an int8 ONNX file.

    Args:
        codes: int8, the weight, (out_features, in_features); its zero point is 0.
        ranges: by which weight and input are rounded.
    """

    codes: Tensor
    ranges: LayerRanges


def read_int8_layers(path: Path) -> dict[str, Int8Layer]:
    """Return the int8 layers of an ONNX file by component name, as its graph computes them.

    Raises:
        PackageError: if the file cannot be read, or a weight in int8 is not used as ``write_onnx_int8``
            writes it.
    """
    try:
        graph = OnnxExporter.load_program(path).graph
        weights = {
            name.removesuffix(CODES): value
            for name, value in graph.initializers.items()
            if value.dtype == onnx_ir.DataType.INT8 and name.endswith(CODES)
        }
        return {name: _layer(value) for name, value in weights.items()}
    except Exception as error:  # whatever reading raises on such a file
        raise PackageError(
            f"{path} cannot be read as int8 ONNX: {' '.join(str(error).split())}; {_REMEDY}"
        ) from None


def check_int8_layers(
    layers: Mapping[str, Int8Layer],
    ranges: Mapping[str, LayerRanges],
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
) -> str:
    """Return in words what the int8 layers have in common with the model's weights.

    Args:
        layers: of the int8 ONNX file.
        ranges: of the package.
        weights: floats, by component name, at least those of ``ranges``.
        masks: bool, True = kept, by component name; none for a dense model.

    Raises:
        PackageError: if layers are missing, a scale, zero point or code is not that of the ranges and the
            weights, or a pruned weight is not 0.
    """
    differing = sorted(layers.keys() ^ ranges.keys())
    if differing:
        raise PackageError(
            f"the int8 layers of the ONNX file and the ranges differ in {len(differing)}, the first is "
            f"{differing[0]}; {_REMEDY}"
        )
    zeros = 0
    for name, layer in layers.items():
        if not _equal(layer.ranges, ranges[name]):
            raise PackageError(f"{name}: the int8 ONNX file has other ranges than the package; {_REMEDY}")
        expected = weight_codes(weights[name], ranges[name].weight_scale)
        wrong = int((layer.codes != expected).sum()) if layer.codes.shape == expected.shape else -1
        if wrong:
            count = "all" if wrong < 0 else wrong
            raise PackageError(
                f"{name}: {count} of its int8 weights are not the rounded weights of the model; {_REMEDY}"
            )
        if name in masks:
            pruned = layer.codes[~masks[name]]
            if pruned.any():
                raise PackageError(f"{name}: {int(pruned.count_nonzero())} pruned weights are not 0 in int8")
            zeros += pruned.numel()
    return f"{len(layers)} layers, the rounded weights of the model; {zeros} pruned weights are 0 in int8"


def _layer(codes: onnx_ir.Value) -> Int8Layer:
    (rounded,) = codes.consumers()
    (product,) = rounded.outputs[0].consumers()
    given = product.inputs[0]
    assert given is not None  # noqa: S101 - for the type checker
    unrounded = given.producer()
    if (
        unrounded is None
        or (rounded.op_type, product.op_type, unrounded.op_type)
        != ("DequantizeLinear", "MatMul", "DequantizeLinear")
        or product.inputs[1] is not rounded.outputs[0]
        or _constant(rounded, 2).any()
    ):
        raise ValueError(f"{codes.name} is not multiplied by a rounded input")
    return Int8Layer(
        codes=torch.from_numpy(_constant(rounded, 0).T.copy()),
        ranges=LayerRanges(
            weight_scale=torch.from_numpy(_constant(rounded, 1).reshape(-1).copy()),
            input_scale=torch.from_numpy(_constant(unrounded, 1).reshape(-1).copy()),
            input_zero_point=torch.from_numpy(_constant(unrounded, 2).reshape(-1).astype(np.int32)),
        ),
    )


def _constant(node: onnx_ir.Node, index: int) -> NDArray[Any]:
    value = node.inputs[index]
    if value is None or value.const_value is None:
        raise ValueError(f"input {index} of {node.name} is no constant")
    return value.const_value.numpy()


def _equal(first: LayerRanges, second: LayerRanges) -> bool:
    return all(
        torch.equal(getattr(first, part.name).flatten(), getattr(second, part.name).flatten())
        for part in fields(LayerRanges)
    )
