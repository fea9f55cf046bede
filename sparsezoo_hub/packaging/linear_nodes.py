"""Linear nodes: which product of an ONNX graph is which linear layer of the model."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.errors import PackageError, QuantizationError

Key = tuple[tuple[int, ...], bytes]


def linear_nodes(
    graph: onnx_ir.Graph, model: PreTrainedModel, names: Iterable[str], source: Path
) -> dict[str, onnx_ir.Node]:
    """Return the node that multiplies by each component's weight.

    The exporter renames and transposes weights, so they are found by their values. Layers of the same values
    are told apart by their order, which is that of the computation in a graph and in a model.

    Args:
        graph: of the model's float export.
        model: that was exported.
        names: of components.
        source: the graph's file, for messages.

    Raises:
        PackageError: if the graph has not as many products with a layer's weight as the model has layers.
        QuantizationError: if the model has no such component.
    """
    nodes: dict[Key, list[onnx_ir.Node]] = {}
    for node in graph.all_nodes():
        weight = _weight(node)
        if weight is not None:
            nodes.setdefault(_key(weight), []).append(node)
    layers: dict[Key, list[nn.Linear]] = {}
    keys: dict[nn.Linear, Key] = {}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            keys[module] = _key(module.weight.detach().float().cpu().numpy())
            layers.setdefault(keys[module], []).append(module)
    components = linear_modules(model)
    found = {}
    for name in names:
        if name not in components:
            raise QuantizationError(f"the model has no {name}: these ranges are those of another model")
        key = keys[components[name]]
        products, same = nodes.get(key, []), layers[key]
        if len(products) != len(same):
            raise PackageError(
                f"{source}: {len(products)} products with {name} for {len(same)} layers of these values: "
                "the export is of another model, or leaves the layer out; take its range away"
            )
        found[name] = products[same.index(components[name])]
    return found


def _weight(node: onnx_ir.Node) -> NDArray[Any] | None:
    """Return the constant that a product multiplies by, as (out_features, in_features)."""
    if node.op_type not in ("MatMul", "Gemm"):
        return None
    factor = node.inputs[1]
    if factor is None or factor.const_value is None or len(factor.const_value.shape) != 2:  # noqa: PLR2004
        return None
    values = factor.const_value.numpy()
    is_transposed = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
    return values if is_transposed else values.T


def _key(weight: NDArray[Any]) -> Key:
    return weight.shape, hashlib.sha256(np.ascontiguousarray(weight).data).digest()
