"""ONNX files as DeepSparse 1.8 knows them, in float32 and in int8.

It reads ONNX up to IR version 9, and takes models as PyTorch's exporter of its time wrote them: operators of
opset 14, attention of plain products, a mask that is added. Products between QuantizeLinear and
DequantizeLinear it computes in floats, more slowly than without; what it computes in int8 is MatMulInteger,
which SparseML made of them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir
import torch
from onnx_ir import DataType
from torch import Tensor, nn
from transformers import BertForQuestionAnswering

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.core.weight_codes import weight_codes
from sparsezoo_hub.packaging.linear_nodes import linear_nodes
from sparsezoo_hub.packaging.onnx_int8 import add_constant
from sparsezoo_hub.packaging.quiet import quiet

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPSET = 14


class _PlainMask(nn.Module):
    """A model whose padding is a number that attention adds."""

    def __init__(self, model: BertForQuestionAnswering) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> tuple[Tensor, ...]:
        added = (1.0 - mask[:, None, None, :].float()) * -1e4
        result: tuple[Tensor, ...] = self.model(ids, added, types, return_dict=False)
        return result


def export_for_deepsparse(
    model: BertForQuestionAnswering, ranges: Mapping[str, LayerRanges], folder: Path
) -> dict[str, Path]:
    """Return the files of a model, by precision."""
    folder.mkdir(parents=True)
    paths = {precision: folder / f"{precision}.onnx" for precision in ("float32", "int8")}
    ids = torch.zeros(1, 16, dtype=torch.int64)
    attention = model.config._attn_implementation
    model.config._attn_implementation = "eager"
    with quiet():
        torch.onnx.export(
            _PlainMask(model).eval(),
            (ids, torch.ones_like(ids), ids),
            str(paths["float32"]),
            dynamo=False,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=("start_logits", "end_logits"),
            dynamic_axes={name: {0: "batch", 1: "length"} for name in INPUTS},
        )
    model.config._attn_implementation = attention
    _write_int8(model, ranges, paths["float32"], paths["int8"])
    return paths


def _write_int8(
    model: BertForQuestionAnswering, ranges: Mapping[str, LayerRanges], source: Path, path: Path
) -> None:
    program = onnx_ir.load(source)
    graph = program.graph
    modules = linear_modules(model)
    codes: dict[tuple[onnx_ir.Value | None, float, int], tuple[onnx_ir.Value, onnx_ir.Value]] = {}
    for name, node in linear_nodes(graph, model, ranges, source).items():
        own = ranges[name]
        scale, zero = np.float32(own.input_scale.item()), np.uint8(own.input_zero_point.item())
        key = (node.inputs[0], float(scale), int(zero))
        if key not in codes:  # query, key and value have one input
            zero_point = add_constant(graph, f"{name}.zero_point", np.asarray(zero))
            rounding = (node.inputs[0], add_constant(graph, f"{name}.scale", np.asarray(scale)), zero_point)
            codes[key] = _add(graph, node, "QuantizeLinear", rounding, DataType.UINT8), zero_point
        weight = weight_codes(modules[name].weight, own.weight_scale).numpy().T
        factors = (
            codes[key][0],
            add_constant(graph, f"{name}.codes", np.ascontiguousarray(weight)),
            codes[key][1],
            add_constant(graph, f"{name}.weight_zero_point", np.asarray(np.int8(0))),
        )
        product = _add(graph, node, "MatMulInteger", factors, DataType.INT32)
        floats = _add(graph, node, "Cast", (product,), DataType.FLOAT, to=int(DataType.FLOAT))
        both = add_constant(
            graph, f"{name}.both_scales", np.asarray(np.float32(scale * own.weight_scale.item()))
        )
        result = _add(graph, node, "Mul", (floats, both), DataType.FLOAT)
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], result)
        graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]
    onnx_ir.save(program, path)


def _add(
    graph: onnx_ir.Graph,
    before: onnx_ir.Node,
    operator: str,
    inputs: tuple[onnx_ir.Value | None, ...],
    dtype: DataType,
    **attributes: int,
) -> onnx_ir.Value:
    """Put a node in front of ``before``, and return its output."""
    name = f"{before.name}.{operator}"
    node = onnx_ir.node(operator, inputs, attributes, name=name)
    node.outputs[0].name, node.outputs[0].type = name, onnx_ir.TensorType(dtype)
    graph.insert_before(before, node)
    return node.outputs[0]
