import gzip
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pyarrow
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from packaging_case import dense_model
from safetensors.torch import save_file
from transformers import BertForMaskedLM

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.manifest import Manifest
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.packaging.size_table import measure_sizes

QUERY = "encoder.layer.0.attention.self.query.weight"
# Of int8, 2 rows of 0 and 2 of one kept weight each: 14 zeros.
CODES = np.array([[0, 0, 0, 127], [0, 0, 0, 0], [-128, 0, 0, 0], [0, 0, 0, 0]], dtype=np.int8)


def tiny_tensors() -> dict[str, torch.Tensor]:
    """72 parameters, 24 of them prunable, 13 of those zero."""
    query = torch.zeros(4, 4)
    query[[0, 1, 2, 3], [3, 2, 0, 1]] = torch.tensor([0.5, 0.001, -0.5, 0.002])
    head = torch.full((2, 4), 0.25)
    head[0, 0] = 0
    return {
        "bert.embeddings.word_embeddings.weight": torch.zeros(10, 4),
        "bert.embeddings.position_ids": torch.arange(8)[None],
        f"bert.{QUERY}": query,
        "bert.encoder.layer.0.attention.self.query.bias": torch.zeros(4),
        "bert.encoder.layer.0.attention.output.LayerNorm.weight": torch.ones(4),
        "classifier.weight": head,
    }


def write_tiny(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    folder.mkdir()
    tensors = {
        name: each.to(dtype) if each.is_floating_point() else each for name, each in tiny_tensors().items()
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_int8(
    folder: Path, codes: NDArray[np.generic], zero_point: NDArray[np.generic], name: str = QUERY
) -> list[Path]:
    """An ONNX model of one layer, its constants in a file of their own."""
    constants = {
        "x_scale": np.array(0.1, np.float32),
        "x_zero_point": np.array(3, np.uint8),
        f"{name}_quantized": codes,
        f"{name}_scale": np.full(zero_point.shape, 0.01, np.float32),
        f"{name}_zero_point": zero_point,
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero_point"], ["x_codes"]),
        helper.make_node("DequantizeLinear", ["x_codes", "x_scale", "x_zero_point"], ["x_rounded"]),
        helper.make_node(
            "DequantizeLinear", [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"], ["w"], axis=1
        ),
        helper.make_node("MatMul", ["x_rounded", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", codes.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", codes.shape[1]])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = folder / "onnx-int8" / "model_quantized.onnx"
    path.parent.mkdir()
    onnx.save(
        helper.make_model(graph),
        path,
        save_as_external_data=True,
        location="model_quantized.onnx.data",
        size_threshold=0,
    )
    (path.parent / "config.json").write_text("{}" * 1000)  # is no weights
    return [path, path.with_name("model_quantized.onnx.data")]


def test_parameters_prunable_and_zeros_are_those_counted_by_hand(tmp_path: Path) -> None:
    (row,) = measure_sizes(write_tiny(tmp_path / "tiny"), "tiny")
    assert (row.name, row.parameters, row.prunable, row.zeros) == ("tiny", 72, 24, 13)
    assert row.sparsity == 13 / 24
    assert row.size == (tmp_path / "tiny" / "model.safetensors").stat().st_size


def test_half_precision_has_the_same_counts_in_half_the_bytes(tmp_path: Path) -> None:
    (full,) = measure_sizes(write_tiny(tmp_path / "full"), "full")
    (half,) = measure_sizes(write_tiny(tmp_path / "half", torch.float16), "half")
    assert (half.parameters, half.prunable, half.zeros) == (72, 24, 13)
    assert full.size - half.size == pytest.approx(2 * 72, abs=16)  # the header is padded


def matrices(layers: int, hidden: int, intermediate: int) -> int:
    """Weights of a RoBERTa's layers, of one square matrix above them and of a head with two outputs."""
    return layers * (4 * hidden**2 + 2 * hidden * intermediate) + hidden**2 + 2 * hidden


def test_prunable_is_what_the_papers_table_counts(tmp_path: Path) -> None:
    # oBERTa base, medium and small have 12, 6 and 3 layers of RoBERTa base, a pooler, and SQuAD's head.
    table_18 = {12: 85_526_016, 6: 43_058_688, 3: 21_825_024}
    assert {layers: matrices(layers, 768, 3072) for layers in table_18} == table_18
    model = dense_model("roberta-classifier")  # 2 layers, 32 and 48; a square matrix and 2 outputs above
    model.save_pretrained(tmp_path)
    (row,) = measure_sizes(tmp_path, "roberta")
    assert row.prunable == matrices(2, 32, 48)
    assert row.parameters == sum(weight.numel() for weight in model.parameters())


def test_a_package_has_the_zeros_of_its_manifest(written: tuple[Path, Manifest]) -> None:
    (row,) = measure_sizes(written[0], "tiny-90")
    layers, head = 2 * (4 * 32**2 + 2 * 32 * 48), 32**2
    assert row.prunable == layers + head
    assert row.zeros == round(written[1].sparsity.overall * layers)


def test_compressed_sizes_are_those_of_other_tools(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(2300, 2000, generator=generator) > 0.98
    weight = torch.randn(2300, 2000, generator=generator) * kept  # 18.4 MB, more than is read at once
    save_file({QUERY: weight}, tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    (row,) = measure_sizes(tmp_path, "sparse")
    assert row.size == len(content)
    assert row.gzip == len(gzip.compress(content, compresslevel=6))
    program = subprocess.run(["gzip", "-c"], input=content, capture_output=True, check=True).stdout
    assert row.gzip == pytest.approx(len(program), rel=0.01)
    whole = pyarrow.Codec("zstd", 9).compress(content)
    assert row.zstd == pytest.approx(len(whole), rel=0.01)
    assert max(row.gzip, row.zstd) < 0.15 * row.size


def test_the_int8_model_is_a_row_of_its_own_with_the_zeros_of_its_codes(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    files = write_int8(folder, CODES, np.array(0, np.int8))
    assert all(file.stat().st_size for file in files)
    plain, int8 = measure_sizes(folder, "tiny")
    assert plain.zeros == 13
    assert (int8.name, int8.parameters, int8.prunable) == ("tiny int8", 72, 24)
    assert int8.zeros == 14 + 1  # and the head's, which stayed float
    assert int8.size == sum(file.stat().st_size for file in files)
    assert int8.gzip == sum(len(gzip.compress(file.read_bytes(), compresslevel=6)) for file in files)


def test_a_real_int8_model_has_the_zeros_that_rounding_adds(package: Path) -> None:
    model = BertForMaskedLM.from_pretrained(package)
    input_scale, input_zero_point = torch.tensor([0.05]), torch.tensor([128], dtype=torch.int32)
    ranges, added = {}, 0
    for name, mask in PatternLock.masks(model).items():
        weight = model.bert.get_parameter(name).detach()
        scale = weight.abs().max()  # so coarse that all below half of the largest become zero
        ranges[name] = LayerRanges(scale.reshape(1), input_scale, input_zero_point)
        added += int((weight[mask].abs() < scale / 2).sum())
    assert added > 100
    write_onnx_int8(model, ranges, package / "onnx", package / "onnx-int8")
    plain, int8 = measure_sizes(package, "tiny")
    assert (int8.prunable, int8.zeros) == (plain.prunable, plain.zeros + added)
    files = [path for path in (package / "onnx-int8").iterdir() if path.suffix != ".json"]
    assert int8.size == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize(
    "zero_point",
    [np.array(128, np.uint8), np.full(4, 128, np.uint8), np.array([128, 128, 128, 255], np.uint8)],
    ids=["one", "per-column", "per-column-different"],
)
def test_a_code_is_zero_where_it_is_the_zero_point(tmp_path: Path, zero_point: NDArray[np.uint8]) -> None:
    folder = write_tiny(tmp_path / "tiny")
    write_int8(folder, (CODES.astype(np.int16) + 128).astype(np.uint8), zero_point)
    # 127 + 128 = 255 is a zero of the last column, whose other three then are none.
    expected = 14 if zero_point.max() == 128 else 14 - 3 + 1
    assert measure_sizes(folder, "tiny")[1].zeros == expected + 1


def test_ratios_are_to_the_same_form_of_the_baseline(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny")
    write_int8(folder, CODES, np.array(0, np.int8))
    plain, int8 = measure_sizes(folder, "tiny")
    assert plain.compression(plain) == {"size": 1.0, "gzip": 1.0, "zstd": 1.0}
    assert int8.compression(plain) == {
        "size": plain.size / int8.size,
        "gzip": plain.gzip / int8.gzip,
        "zstd": plain.zstd / int8.zstd,
    }


def test_a_folder_without_readable_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"model\.safetensors cannot be read as weights"):
        measure_sizes(tmp_path, "none")
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(PackageError, match=r"model\.safetensors cannot be read as weights"):
        measure_sizes(tmp_path, "broken")


def test_an_int8_model_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "smaller")
    write_int8(folder, CODES[:2], np.array(0, np.int8))
    with pytest.raises(PackageError, match=r"query\.weight has 8 entries, 16 in model\.safetensors"):
        measure_sizes(folder, "smaller")
    folder = write_tiny(tmp_path / "other")
    write_int8(folder, CODES, np.array(0, np.int8), "transformer.layer.0.ffn.lin1.weight")
    with pytest.raises(PackageError, match=r"one tensor must be 'transformer\.layer\.0\.ffn\.lin1\.weight'"):
        measure_sizes(folder, "other")


@pytest.mark.parametrize("broken", ["model_quantized.onnx", "model_quantized.onnx.data"])
def test_an_int8_model_that_cannot_be_read_is_refused(tmp_path: Path, broken: str) -> None:
    folder = write_tiny(tmp_path / "tiny")
    write_int8(folder, CODES, np.array(0, np.int8))
    (folder / "onnx-int8" / broken).write_bytes(b"\xff\xff")
    with pytest.raises(
        PackageError, match=r"onnx-int8/model_quantized\.onnx cannot be read as ONNX: .*export it again"
    ):
        measure_sizes(folder, "tiny")
