"""Whole models in int8: exported, compared with the same rounding in PyTorch, run on batches of any size."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from packaging_case import TEXTS, dense_model, locked_model, wordpiece_tokenizer
from transformers import PreTrainedModel
from transformers.exporters import ExportedModel

from sparsezoo_hub.core.fake_quantization import (
    LayerRanges,
    apply_ranges,
    fake_quantize,
    freeze_ranges,
    learn_ranges,
    learned_ranges,
)
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.int8_layers import read_int8_layers
from sparsezoo_hub.packaging.int8_parity import check_onnx_int8
from sparsezoo_hub.packaging.onnx_export import export_onnx, tokenized_batches
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.packaging.onnx_session import session_options

TOKENIZER = wordpiece_tokenizer()
# Each architecture, head and kind of weight, and each way to ranges.
MODELS = {
    "bert-answerer": (locked_model, False, "learned"),
    "roberta-tagger": (dense_model, True, "calibrated"),
    "distilbert-classifier": (locked_model, True, "learned"),
}

Int8 = tuple[PreTrainedModel, dict[str, LayerRanges], Path]


def ranges_learned_in_training(model: PreTrainedModel, *, per_channel: bool) -> dict[str, LayerRanges]:
    student = copy.deepcopy(model).train()
    layers = fake_quantize(student, per_channel=per_channel)
    learn_ranges(layers)
    for batch in tokenized_batches(student, TOKENIZER, TEXTS):
        student(**batch)
    freeze_ranges(layers)
    return learned_ranges(layers)


@pytest.fixture(scope="module", params=MODELS)
def int8(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Int8:
    make, per_channel, way = MODELS[request.param]
    model, folder = make(request.param).eval(), tmp_path_factory.mktemp("int8")
    if way == "learned":
        ranges = ranges_learned_in_training(model, per_channel=per_channel)
    else:
        batches = tokenized_batches(model, TOKENIZER, TEXTS)
        ranges = calibrate(model, batches, per_channel=per_channel)
    export_onnx(model, TOKENIZER, TEXTS, folder / "float")
    write_onnx_int8(model, ranges, folder / "float", folder / "int8")
    return model, ranges, folder / "int8"


def test_onnx_runtime_agrees_with_the_fake_quantized_model(int8: Int8) -> None:
    model, ranges, folder = int8
    parity = check_onnx_int8(model, ranges, TOKENIZER, TEXTS, folder / "model_quantized.onnx")
    assert parity.num_texts == len(TEXTS)
    # A tenth of what rounding does: a code here and there falls to the other side.
    assert parity.mean_difference < 0.1 * parity.rounding
    assert parity.mean_difference <= parity.max_difference < 0.1


def test_transformers_own_loader_runs_it_on_padded_batches(int8: Int8) -> None:
    model, ranges, folder = int8
    rounded = copy.deepcopy(model)
    apply_ranges(rounded, ranges)
    rounded.eval()
    exported = ExportedModel.from_pretrained(folder, session_options=session_options())
    for texts in (TEXTS[2:3], TEXTS[:5]):
        encoded = TOKENIZER(list(texts), padding=True, return_tensors="pt")
        inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            expected = rounded(**inputs)
        outputs = exported(**inputs)
        assert outputs.keys() == expected.keys()
        for name, output in outputs.items():
            assert (output - expected[name]).abs().mean() < 0.02 * expected[name].std()


def test_every_pruned_weight_is_0_in_int8(int8: Int8) -> None:
    model, ranges, folder = int8
    layers, masks = read_int8_layers(folder / "model_quantized.onnx"), PatternLock.masks(model)
    assert layers.keys() == ranges.keys()
    assert len(layers) == 12
    for name, mask in masks.items():
        assert not layers[name].codes[~mask].any()
        assert layers[name].codes[mask].any()


def test_every_layer_runs_in_integers_and_nothing_else(int8: Int8, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this machine
    onnxruntime.InferenceSession(int8[2] / "model_quantized.onnx", options)
    kinds = [
        node.op_type for node in onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph.node
    ]
    assert kinds.count("MatMulIntegerToFloat") == 12
    assert "DequantizeLinear" not in kinds
    # Query, key and value share theirs; then the attention's output, and the two of the feed-forward block.
    assert kinds.count("QuantizeLinear") == 8


def weight_bytes(path: Path) -> int:
    return sum(numpy_helper.to_array(each).nbytes for each in onnx.load(path).graph.initializer)


def test_the_file_is_sound_and_small_and_tells_nothing_of_the_machine(int8: Int8) -> None:
    folder = int8[2]
    onnx.checker.check_model(folder / "model_quantized.onnx", full_check=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "export.json", "model_quantized.onnx", "model_quantized.onnx.data",
    ]  # fmt: skip
    whole = folder.parent / "float" / "model.onnx"
    quantized = 2 * (4 * 32 * 32 + 2 * 32 * 48)
    assert weight_bytes(folder / "model_quantized.onnx") < weight_bytes(whole) - 2.5 * quantized
    content = (folder / "model_quantized.onnx").read_bytes()
    for secret in (b"site-packages", b"sparsezoo_hub/", str(Path.home()).encode() + b"/", b"stack_trace"):
        assert secret not in content


def test_a_wrong_range_and_a_wrong_weight_are_further_away_than_rounding(int8: Int8, tmp_path: Path) -> None:
    model, ranges, folder = int8
    name = list(ranges)[-1]
    wrong = {**ranges, name: replace(ranges[name], input_scale=ranges[name].input_scale / 8)}
    write_onnx_int8(model, wrong, folder.parent / "float", tmp_path / "wrong")
    with pytest.raises(PackageError, match=r"ONNX Runtime's int8 differs from PyTorch's by") as caught:
        check_onnx_int8(model, ranges, TOKENIZER, TEXTS, tmp_path / "wrong" / "model_quantized.onnx")
    assert "\n" not in str(caught.value)
    shutil.copytree(folder, tmp_path / "other")
    path = tmp_path / "other" / "model_quantized.onnx"
    changed = onnx.load(path)
    for weight in changed.graph.initializer:
        if weight.data_type == onnx.TensorProto.INT8 and weight.dims:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) ^ 0x40, weight.name))
    onnx.save(changed, path)
    with pytest.raises(PackageError, match=r"differs from PyTorch's by|cannot be run"):
        check_onnx_int8(model, ranges, TOKENIZER, TEXTS, tmp_path / "other" / "model_quantized.onnx")
