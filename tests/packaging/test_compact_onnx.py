import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.compact_form import expand_compact_form, write_compact_form
from sparsezoo_hub.packaging.compact_onnx import expand_compact_onnx, write_compact_onnx
from sparsezoo_hub.packaging.layout import COMPACT_FILES, ONNX_MODEL
from sparsezoo_hub.packaging.manifest import Manifest

WEIGHT = np.arange(1200, dtype=np.float32).reshape(40, 30)


def write_model(path: Path, **initializers: np.ndarray) -> None:
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([], "graph", [], [value], initializer=tensors)
    onnx.save(helper.make_model(graph), path)


def write_weights(path: Path, **tensors: np.ndarray) -> None:
    save_file(tensors, path)


def pieces(compact: Path) -> list[list[object]]:
    with safe_open(compact, framework="np") as file:
        return list(json.loads(file.metadata()["compact_onnx"])["pieces"])


def test_weights_are_told_by_name_and_codes_by_what_is_not_zero(tmp_path: Path) -> None:
    codes = np.zeros((64, 64), np.int8)
    codes[3, 5], codes[60, 1] = -7, 9
    other = np.full(2000, 3, np.int8)
    write_weights(tmp_path / "weights", w=WEIGHT, small=np.ones(3, np.float32))
    write_model(tmp_path / "model", a=WEIGHT, b=np.ascontiguousarray(WEIGHT.T), codes=codes, other=other)
    size = write_compact_onnx(tmp_path / "model", tmp_path / "weights", tmp_path / "compact")
    found = pieces(tmp_path / "compact")
    assert [piece for piece in found if piece[0] != "literal"] == [
        ["tensor", "w", False],
        ["tensor", "w", True],
        ["sparse", 4096],
    ]
    stored = load_file(tmp_path / "compact")
    np.testing.assert_array_equal(stored["values"].view(np.int8), [-7, 9])
    expected = np.packbits((codes != 0).ravel(), bitorder="little")
    np.testing.assert_array_equal(stored["bits"], expected)
    assert other.tobytes() in stored["literal"].tobytes()
    assert WEIGHT.tobytes() not in stored["literal"].tobytes()
    assert size.raw == (tmp_path / "model").stat().st_size
    assert size.compact == (tmp_path / "compact").stat().st_size < size.raw / 3
    expand_compact_onnx(tmp_path / "compact", tmp_path / "weights", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "model").read_bytes()


def test_a_packages_own_files_come_back(written: tuple[Path, Manifest], tmp_path: Path) -> None:
    folder, manifest = written
    sizes = write_compact_form(folder, tmp_path)
    assert sizes.keys() == {"model.safetensors", ONNX_MODEL}
    # Of the ONNX file the graph is left: no weight of it is of its own.
    assert sizes[ONNX_MODEL].compact < sizes[ONNX_MODEL].raw / 3
    travelled = tmp_path / "travelled"
    shutil.copytree(tmp_path / "compact", travelled / "compact")
    expand_compact_form(travelled)
    for name in sizes:
        assert (travelled / name).read_bytes() == (folder / name).read_bytes()
        assert manifest.files[name].size == sizes[name].raw
    assert not (travelled / "compact").exists()


def test_a_changed_or_truncated_compact_file_leaves_nothing_behind(tmp_path: Path) -> None:
    codes = np.zeros(1200, np.int8)
    codes[7] = 1
    write_weights(tmp_path / "weights", w=WEIGHT)
    write_model(tmp_path / "model", a=WEIGHT, codes=codes)
    write_compact_onnx(tmp_path / "model", tmp_path / "weights", tmp_path / "compact")
    content = (tmp_path / "compact").read_bytes()
    changes = [content[:length] for length in range(0, len(content), 13)]
    for position in range(8, len(content)):
        changes.append(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
    for changed in changes:
        (tmp_path / "compact").write_bytes(changed)
        with pytest.raises(PackageError) as caught:
            expand_compact_onnx(tmp_path / "compact", tmp_path / "weights", tmp_path / "back")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "back").exists()


def test_weights_of_another_model_do_not_fit(tmp_path: Path) -> None:
    write_weights(tmp_path / "weights", w=WEIGHT)
    write_model(tmp_path / "model", a=WEIGHT)
    write_compact_onnx(tmp_path / "model", tmp_path / "weights", tmp_path / "compact")
    write_weights(tmp_path / "weights", w=WEIGHT + 1)
    with pytest.raises(PackageError, match="expands to SHA-256"):
        expand_compact_onnx(tmp_path / "compact", tmp_path / "weights", tmp_path / "back")
    write_weights(tmp_path / "weights", v=WEIGHT)
    with pytest.raises(PackageError, match="is no piece of this model"):
        expand_compact_onnx(tmp_path / "compact", tmp_path / "weights", tmp_path / "back")


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_weights(tmp_path / "weights", w=WEIGHT)
    (tmp_path / "text").write_text("no model at all")
    for bad in ("text", "missing"):
        with pytest.raises(PackageError, match="cannot be read"):
            write_compact_onnx(tmp_path / bad, tmp_path / "weights", tmp_path / "compact")
        with pytest.raises(PackageError, match="cannot be read as a compact ONNX file"):
            expand_compact_onnx(tmp_path / bad, tmp_path / "weights", tmp_path / "back")
    with pytest.raises(PackageError, match="is no compact ONNX file"):
        expand_compact_onnx(tmp_path / "weights", tmp_path / "weights", tmp_path / "back")
    assert set(COMPACT_FILES.values()) == {
        f"compact/{path.rsplit('/')[-1]}" for path in COMPACT_FILES.values()
    }
