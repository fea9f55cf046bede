"""What a linear layer becomes in int8 ONNX, by hand: graphs of one or two products."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.core.weight_codes import weight_codes
from sparsezoo_hub.errors import PackageError, QuantizationError
from sparsezoo_hub.packaging.int8_layers import read_int8_layers
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.packaging.onnx_session import onnx_session, run_session

FIRST, SECOND = "0.weight", "1.weight"
WEIGHT = [[0.5, -1.0], [0.3125, 20.0]]
BIAS = [1.0, 2.0]
# 1.3 / 0.5 = 2.6, rounded 3, is 1.5; -2.0 / 0.5 + 3 = -1 is below 0, so 0, which is -1.5
INPUT, INPUT_SCALE, INPUT_ZERO_POINT = [1.3, -2.0], 0.5, 3


def layer_ranges(*scales: float, zero_point: int = INPUT_ZERO_POINT) -> LayerRanges:
    return LayerRanges(
        weight_scale=torch.tensor(scales),
        input_scale=torch.tensor([INPUT_SCALE]),
        input_zero_point=torch.tensor([zero_point], dtype=torch.int32),
    )


def layers(*weights: list[list[float]]) -> nn.Sequential:
    """Linear layers that all see the same input."""
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in weights))
    with torch.no_grad():
        for module, weight in zip(model, weights, strict=True):
            module.weight.copy_(torch.tensor(weight))
            module.bias.copy_(torch.tensor(BIAS))
    return model


def exported(folder: Path, operator: str, *weights: list[list[float]]) -> Path:
    """The float export of ``layers``, with a name for each output, written without the exporter."""
    nodes, constants, outputs = [], [], []
    axes = ["batch", 2] if operator == "Gemm" else ["batch", "length", 2]
    for index, weight in enumerate(weights):
        array = np.array(weight, np.float32)
        output = f"y{index}"
        outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, axes))
        constants.append(numpy_helper.from_array(np.array(BIAS, np.float32), f"b{index}"))
        if operator == "Gemm":
            constants.append(numpy_helper.from_array(array, f"w{index}"))
            nodes.append(helper.make_node("Gemm", ["x", f"w{index}", f"b{index}"], [output], transB=1))
        else:
            constants.append(numpy_helper.from_array(array.T, f"w{index}"))
            nodes.append(helper.make_node("MatMul", ["x", f"w{index}"], [f"p{index}"]))
            nodes.append(helper.make_node("Add", [f"p{index}", f"b{index}"], [output]))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)
    graph = helper.make_graph(nodes, "layers", [given], outputs, constants)
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
        folder / "model.onnx",
    )
    (folder / "export.json").write_text(json.dumps({"file": "model.onnx"}))
    (folder / "config.json").write_text(json.dumps({"of": "config.json"}))
    return folder


def outputs_of(folder: Path, given: list[float]) -> list[list[float]]:
    session = onnx_session(folder / "model_quantized.onnx")
    batch = torch.tensor(given).reshape([1] * len(session.get_inputs()[0].shape[1:]) + [2])
    return [output.reshape(-1).tolist() for output in run_session(session, {"x": batch})]


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
@pytest.mark.parametrize(
    ("scales", "codes", "output"),
    [
        # 0.3125 / 0.125 = 2.5, halves go to even; 20 / 0.125 = 160 is cut to 127.
        # 1.5 * 4/8 + -1.5 * -8/8 + 1; 1.5 * 2/8 - 1.5 * 127/8 + 2
        ((0.125,), [[4, -8], [2, 127]], [3.25, -21.4375]),
        # The second output's own scale: 1.25 is 1, 80 is 80. 1.5 * 1/4 - 1.5 * 80/4 + 2
        ((0.125, 0.25), [[4, -8], [1, 80]], [3.25, -27.625]),
    ],
    ids=["per tensor", "per channel"],
)
def test_a_layer_computes_in_int8_as_by_hand(
    tmp_path: Path, operator: str, scales: tuple[float, ...], codes: list[list[int]], output: list[float]
) -> None:
    model, ranges = layers(WEIGHT), {FIRST: layer_ranges(*scales)}
    assert weight_codes(model[0].weight, ranges[FIRST].weight_scale).tolist() == codes
    write_onnx_int8(model, ranges, exported(tmp_path / "float", operator, WEIGHT), tmp_path / "int8")
    assert outputs_of(tmp_path / "int8", INPUT) == [output]

    (layer,) = read_int8_layers(tmp_path / "int8" / "model_quantized.onnx").values()
    assert layer.codes.dtype == torch.int8
    assert layer.codes.tolist() == codes
    assert layer.ranges.weight_scale.tolist() == list(scales)
    assert (layer.ranges.input_scale.tolist(), layer.ranges.input_zero_point.tolist()) == ([0.5], [3])


def test_inputs_are_uint8_and_weights_int8_around_a_zero_of_0(tmp_path: Path) -> None:
    float_folder = exported(tmp_path / "float", "MatMul", WEIGHT)
    write_onnx_int8(layers(WEIGHT), {FIRST: layer_ranges(0.125, 0.25)}, float_folder, tmp_path / "int8")
    graph = onnx.load(tmp_path / "int8" / "model_quantized.onnx").graph
    arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    rounded = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    points = {arrays[node.input[2]].dtype: arrays[node.input[2]].tolist() for node in rounded}
    assert points == {np.dtype(np.uint8): 3, np.dtype(np.int8): [0, 0]}
    (axis,) = [node.attribute[0].i for node in rounded if node.attribute]
    assert axis == 1  # the graph's weight is (in, out), and each out has a scale
    assert "w0" not in arrays
    assert json.loads((tmp_path / "int8" / "export.json").read_text()) == {"file": "model_quantized.onnx"}
    assert json.loads((tmp_path / "int8" / "config.json").read_text()) == {"of": "config.json"}


@pytest.mark.parametrize(("second", "number"), [(INPUT_ZERO_POINT, 1), (4, 2)])
def test_layers_of_one_input_share_its_rounding_if_their_ranges_agree(
    tmp_path: Path, second: int, number: int
) -> None:
    other = [[1.0, 0.0], [0.0, 1.0]]
    ranges = {FIRST: layer_ranges(0.125), SECOND: layer_ranges(0.125, zero_point=second)}
    folder = exported(tmp_path / "float", "MatMul", WEIGHT, other)
    write_onnx_int8(layers(WEIGHT, other), ranges, folder, tmp_path / "int8")
    nodes = onnx.load(tmp_path / "int8" / "model_quantized.onnx").graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) == number
    first, last = outputs_of(tmp_path / "int8", INPUT)
    assert first == [3.25, -21.4375]
    # With a zero point of 4, -2.0 is 0 - 4 steps of 0.5, and is not cut.
    assert last == [1.5 + 1.0, (-1.5 if second == INPUT_ZERO_POINT else -2.0) + 2.0]


def test_layers_of_the_same_weights_keep_their_own_ranges(tmp_path: Path) -> None:
    ranges = {FIRST: layer_ranges(0.125), SECOND: layer_ranges(0.125, zero_point=4)}
    write_onnx_int8(
        layers(WEIGHT, WEIGHT), ranges, exported(tmp_path / "f", "MatMul", WEIGHT, WEIGHT), tmp_path / "int8"
    )
    # -2.0 is -1.5 for the first layer, -2.0 for the second: 1.5 * 0.5 + 2.0 + 1
    assert [output[0] for output in outputs_of(tmp_path / "int8", INPUT)] == [3.25, 3.75]


def test_a_layer_without_ranges_stays_float(tmp_path: Path) -> None:
    folder = exported(tmp_path / "float", "MatMul", WEIGHT, [[1.0, 0.0], [0.0, 1.0]])
    model = layers(WEIGHT, [[1.0, 0.0], [0.0, 1.0]])
    write_onnx_int8(model, {FIRST: layer_ranges(0.125)}, folder, tmp_path / "int8")
    assert outputs_of(tmp_path / "int8", [1.25, -2.0])[1] == [2.25, 0.0]


def test_sums_of_products_are_not_cut_to_16_bits(tmp_path: Path) -> None:
    # 255 * 127 + 255 * 127 = 64,770; 16 bits end at 32,767, where some processors cut it
    heavy = [[1.27, 1.27], [-1.27, -1.27]]
    folder = exported(tmp_path / "float", "MatMul", heavy)
    ranges = {FIRST: LayerRanges(torch.tensor([0.01]), torch.tensor([1.0]), torch.tensor([0]).int())}
    write_onnx_int8(layers(heavy), ranges, folder, tmp_path / "int8")
    (output,) = outputs_of(tmp_path / "int8", [255.0, 255.0])
    assert output == pytest.approx([647.7 + 1, -647.7 + 2])


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_onnx_runtime_multiplies_integers(tmp_path: Path, operator: str) -> None:
    folder = exported(tmp_path / "float", operator, WEIGHT)
    write_onnx_int8(layers(WEIGHT), {FIRST: layer_ranges(0.125)}, folder, tmp_path / "int8")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this machine
    onnxruntime.InferenceSession(tmp_path / "int8" / "model_quantized.onnx", options)
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert kinds - {"Squeeze", "Unsqueeze"} == {"Add", "MatMulIntegerToFloat", "QuantizeLinear"}


def test_a_layer_that_the_export_does_not_have_is_refused(tmp_path: Path) -> None:
    folder = exported(tmp_path / "float", "MatMul", WEIGHT)
    model = layers(WEIGHT, [[9.0, 9.0], [9.0, 9.0]])
    with pytest.raises(PackageError, match=r"0 products with 1\.weight for 1 layers"):
        write_onnx_int8(model, {SECOND: layer_ranges(0.125)}, folder, tmp_path / "int8")
    assert not (tmp_path / "int8").exists()


def test_ranges_of_a_layer_that_the_model_does_not_have_are_refused(tmp_path: Path) -> None:
    folder = exported(tmp_path / "float", "MatMul", WEIGHT)
    with pytest.raises(QuantizationError, match=r"the model has no 7\.weight"):
        write_onnx_int8(layers(WEIGHT), {"7.weight": layer_ranges(0.125)}, folder, tmp_path / "int8")


def test_a_file_without_int8_products_is_one_line(tmp_path: Path) -> None:
    folder = exported(tmp_path / "float", "MatMul", WEIGHT)
    assert read_int8_layers(folder / "model.onnx") == {}
    (folder / "model.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(PackageError, match="cannot be read as int8 ONNX") as caught:
        read_int8_layers(folder / "model.onnx")
    assert "\n" not in str(caught.value)
