"""Int8 ONNX: the float export with the products of its encoder's linear layers in int8.

Around every such product stand QuantizeLinear and DequantizeLinear (QDQ): inputs uint8, weights int8, scales
and zero points those of the ranges. A runtime that knows the pattern multiplies integers; any other gets the
same numbers in floats.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.exporters.exporter_onnx import OnnxExporter

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.core.weight_codes import weight_codes
from sparsezoo_hub.packaging.layout import CONFIG, ONNX_INT8_MODEL, ONNX_MODEL
from sparsezoo_hub.packaging.linear_nodes import linear_nodes
from sparsezoo_hub.packaging.onnx_file import write_onnx

# What the names of a weight's constants end with, after its component's name.
CODES, SCALE, ZERO_POINT = "_quantized", "_scale", "_zero_point"

_FLOAT, _INT8 = Path(ONNX_MODEL).name, Path(ONNX_INT8_MODEL).name
_EXPORT = "export.json"
_OUTPUT_AXIS = 1  # the graph's weights are (in_features, out_features)

Shared = dict[tuple[onnx_ir.Value, float, int], onnx_ir.Value]


def write_onnx_int8(
    model: PreTrainedModel, ranges: Mapping[str, LayerRanges], exported: Path, folder: Path
) -> None:
    """Write the int8 form of a float export.

    Args:
        model: that was exported, with its float weights.
        ranges: by component name; nothing is calibrated here.
        exported: the folder of ``export_onnx``.
        folder: is created; gets ``model_quantized.onnx``, and beside it what ``ExportedModel`` reads.

    Raises:
        PackageError: if a layer of ``ranges`` has no product in the export.
        QuantizationError: if the model has no such layer.
    """
    program = OnnxExporter.load_program(exported / _FLOAT)
    graph = program.graph
    modules = linear_modules(model)
    shared: Shared = {}
    for name, node in linear_nodes(graph, model, ranges, exported / _FLOAT).items():
        _quantize(graph, node, name, ranges[name], modules[name].weight, shared)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
    folder.mkdir(parents=True, exist_ok=True)
    write_onnx(program, folder / _INT8)
    shutil.copyfile(exported / CONFIG, folder / CONFIG)
    described = (exported / _EXPORT).read_text(encoding="utf-8")
    (folder / _EXPORT).write_text(described.replace(json.dumps(_FLOAT), json.dumps(_INT8)), encoding="utf-8")


def _quantize(
    graph: onnx_ir.Graph,
    node: onnx_ir.Node,
    name: str,
    ranges: LayerRanges,
    weight: Tensor,
    shared: Shared,
) -> None:
    stem = name.removesuffix(".weight")
    given = node.inputs[0]
    assert given is not None  # noqa: S101 - for the type checker: a product has two factors
    if node.op_type == "Gemm":
        node = _as_product(graph, node, stem, given)
        given = node.inputs[0]
        assert given is not None  # noqa: S101 - as above
    key = (given, float(ranges.input_scale), int(ranges.input_zero_point))
    if key not in shared:  # query, key and value have one input, and as a rule one range of it
        shared[key] = _rounded_input(graph, node, stem, given, ranges)
    node.replace_input_with(0, shared[key])
    node.replace_input_with(1, _rounded_weight(graph, node, name, ranges, weight))


def _as_product(graph: onnx_ir.Graph, gemm: onnx_ir.Node, stem: str, given: onnx_ir.Value) -> onnx_ir.Node:
    """Put a product of three axes and an addition in the place of a Gemm, and return the product.

    ONNX Runtime computes a Gemm of integers only with an integer bias, and makes one of every product of two
    axes with an addition.
    """
    axes = add_constant(graph, f"{stem}.axes", np.array([0], np.int64))
    batch, features = gemm.outputs[0].shape or (None, None)
    wide = onnx_ir.Shape([1, batch, features])
    unsqueezed = _add(graph, gemm, "Unsqueeze", (given, axes), f"{stem}.unsqueezed", None)
    product = _add(graph, gemm, "MatMul", (unsqueezed, gemm.inputs[1]), f"{stem}.product", wide)
    total = product
    if len(gemm.inputs) > 2:  # noqa: PLR2004 - it has a bias
        total = _add(graph, gemm, "Add", (product, gemm.inputs[2]), f"{stem}.sum", wide)
    old = gemm.outputs[0]
    result = _add(graph, gemm, "Squeeze", (total, axes), f"{stem}.squeezed", old.shape)
    onnx_ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
    graph.remove(gemm, safe=True)
    result.name = old.name
    made = product.producer()
    assert made is not None  # noqa: S101 - for the type checker
    return made


def _rounded_input(
    graph: onnx_ir.Graph, node: onnx_ir.Node, stem: str, given: onnx_ir.Value, ranges: LayerRanges
) -> onnx_ir.Value:
    scale = add_constant(graph, f"{stem}.input{SCALE}", np.array(float(ranges.input_scale), np.float32))
    zero = add_constant(graph, f"{stem}.input{ZERO_POINT}", np.array(int(ranges.input_zero_point), np.uint8))
    codes = _add(graph, node, "QuantizeLinear", (given, scale, zero), f"{stem}.input{CODES}", given.shape)
    codes.type = onnx_ir.TensorType(onnx_ir.DataType.UINT8)
    return _add(graph, node, "DequantizeLinear", (codes, scale, zero), f"{stem}.input_rounded", given.shape)


def _rounded_weight(
    graph: onnx_ir.Graph, node: onnx_ir.Node, name: str, ranges: LayerRanges, weight: Tensor
) -> onnx_ir.Value:
    scales = ranges.weight_scale.flatten().float().numpy()
    per_channel = scales.size > 1
    if not per_channel:
        scales = scales.reshape(())
    transposed = np.ascontiguousarray(weight_codes(weight, ranges.weight_scale).numpy().T)
    codes = add_constant(graph, f"{name}{CODES}", transposed)
    scale = add_constant(graph, f"{name}{SCALE}", scales)
    zero = add_constant(graph, f"{name}{ZERO_POINT}", np.zeros(scales.shape, np.int8))
    axis = {"axis": _OUTPUT_AXIS} if per_channel else {}
    inputs = (codes, scale, zero)
    return _add(graph, node, "DequantizeLinear", inputs, f"{name}_rounded", codes.shape, **axis)


def add_constant(graph: onnx_ir.Graph, name: str, array: NDArray[np.generic]) -> onnx_ir.Value:
    """Add an initializer to a graph, and return its value."""
    tensor = onnx_ir.tensor(array, name=name)
    value = onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(array.shape), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _add(
    graph: onnx_ir.Graph,
    before: onnx_ir.Node,
    operator: str,
    inputs: tuple[onnx_ir.Value | None, ...],
    name: str,
    shape: onnx_ir.Shape | None,
    **attributes: int,
) -> onnx_ir.Value:
    """Put a node in front of ``before``, and return its output, a float of ``shape``."""
    node = onnx_ir.node(operator, inputs, attributes, name=name)
    output = node.outputs[0]
    output.name, output.shape = name, shape
    output.type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
    graph.insert_before(before, node)
    return output
