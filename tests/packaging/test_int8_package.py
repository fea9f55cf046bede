"""Packages with an int8 form: what is in them, and what verification finds."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from huggingface_hub import ModelCard
from onnx import numpy_helper
from packaging_case import TEXTS, rehashed, tiny_contents
from safetensors.torch import load_file, save_file

from sparsezoo_hub.core.quantization_names import LEARNED
from sparsezoo_hub.errors import QuantizationError, VerificationError
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.manifest import Manifest, manifest_text, read_manifest, write_manifest
from sparsezoo_hub.packaging.onnx_export import tokenized_batches
from sparsezoo_hub.packaging.package import write_package
from sparsezoo_hub.packaging.quantization_file import FoundRanges, read_ranges, write_ranges
from sparsezoo_hub.packaging.verify import require_verified, verify_package

NAME = "encoder.layer.1.output.dense.weight"


@pytest.fixture(scope="module")
def int8_written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder, contents = tmp_path_factory.mktemp("int8") / "package", tiny_contents()
    batches = tokenized_batches(contents.model, contents.tokenizer, TEXTS)
    found = FoundRanges(calibrate(contents.model, batches), LEARNED)
    return folder, write_package(folder, replace(contents, quantization=found))


@pytest.fixture
def int8_package(int8_written: tuple[Path, Manifest], tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_written[0], tmp_path / "package"))


def test_a_package_with_ranges_has_an_int8_form_and_passes_every_check(
    int8_written: tuple[Path, Manifest],
) -> None:
    folder, manifest = int8_written
    assert {
        "quantization.safetensors", "onnx-int8/model_quantized.onnx", "onnx-int8/model_quantized.onnx.data",
        "onnx-int8/export.json", "onnx-int8/config.json",
    } < manifest.files.keys()  # fmt: skip
    entry = manifest.quantization
    assert entry is not None
    assert (entry.method, entry.per_channel, entry.num_layers) == ("quantization-aware training", False, 12)
    assert (entry.num_texts, entry.mean_difference < entry.rounding) == (len(TEXTS), True)
    assert read_ranges(folder / "quantization.safetensors").method == "quantization-aware training"
    checks = {check.name: check for check in verify_package(folder, onnx=True)}
    assert [name for name, check in checks.items() if not check.ok] == []
    assert list(checks)[-4:] == ["ranges", "int8", "onnx", "onnx-int8"]
    # 922 of each 1024 and 1382 of each 1536: round(0.9 * numel)
    assert f"{2 * (4 * 922 + 2 * 1382)} pruned weights are 0 in int8" in checks["int8"].detail


def test_the_card_says_how_to_run_it(int8_written: tuple[Path, Manifest]) -> None:
    text = ModelCard.load(int8_written[0] / "README.md").text
    assert 'from_pretrained("local/tiny-90", subfolder="onnx-int8", session_options=options)' in text
    assert 'add_session_config_entry("session.x64quantprecision", "1")' in text
    said = " ".join(text.split())
    assert "12 linear layers in int8: inputs in uint8, weights in int8 with one scale per weight." in said
    assert "learned together with the weights (quantization-aware training)" in said
    assert "Every pruned weight is 0 in int8 too." in said


def test_a_package_without_ranges_says_nothing_of_int8(written: tuple[Path, Manifest]) -> None:
    folder, manifest = written
    assert manifest.quantization is None
    # As in the manifests from before there was int8: the key is not there.
    assert "quantization" not in json.loads(manifest_text(manifest))
    assert "int8" not in (folder / "README.md").read_text()
    assert not (folder / "onnx-int8").exists()


def edit_int8_weight(folder: Path) -> None:
    path = folder / "onnx-int8" / "model_quantized.onnx"
    model = onnx.load(path)
    (codes,) = [each for each in model.graph.initializer if each.name == f"{NAME}_quantized"]
    array = numpy_helper.to_array(codes).copy()
    array[3, 4] ^= 1
    codes.CopyFrom(numpy_helper.from_array(array, codes.name))
    onnx.save(model, path)


def edit_input_scale(folder: Path) -> None:
    path = folder / "onnx-int8" / "model_quantized.onnx"
    model = onnx.load(path)
    (scale,) = [
        each for each in model.graph.initializer if each.name == NAME.replace("weight", "input_scale")
    ]
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 2, scale.name))
    onnx.save(model, path)


def ranges_of_another_model(folder: Path) -> None:
    path = folder / "quantization.safetensors"
    tensors = load_file(path)
    renamed = {name.replace("encoder.layer.1.", "encoder.layer.2."): each for name, each in tensors.items()}
    save_file(renamed, path, metadata={"method": LEARNED})


def ranges_of_other_values(folder: Path) -> None:
    path = folder / "quantization.safetensors"
    tensors = load_file(path)
    tensors[f"{NAME}/weight_scale"] *= 1.5
    save_file(tensors, path, metadata={"method": LEARNED})


def ranges_of_fewer_layers(folder: Path) -> None:
    path = folder / "quantization.safetensors"
    found = read_ranges(path)
    kept = {name: each for name, each in found.ranges.items() if name != NAME}
    write_ranges(path, FoundRanges(kept, LEARNED))


def edit_method(folder: Path) -> None:
    path = folder / "quantization.safetensors"
    save_file(load_file(path), path, metadata={"method": "post-training quantization"})


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        (edit_int8_weight, "int8", rf"{NAME}: 1 of its int8 weights are not the rounded weights"),
        (edit_input_scale, "int8", rf"{NAME}: the int8 ONNX file has other ranges"),
        (ranges_of_another_model, "ranges", r"the model has no encoder\.layer\.2\."),
        (ranges_of_other_values, "int8", "has other ranges than the package"),
        (ranges_of_fewer_layers, "ranges", "number of layers are"),
        (edit_method, "ranges", "post-training quantization"),
        (
            lambda folder: (folder / "quantization.safetensors").write_bytes(b"no"),
            "ranges",
            "cannot be read as int8 ranges",
        ),
        (
            lambda folder: shutil.rmtree(folder / "onnx-int8"),
            "files",
            r"onnx-int8/model_quantized\.onnx is not named by the manifest",
        ),
        (
            lambda folder: (folder / "quantization.safetensors").unlink(),
            "files",
            r"quantization\.safetensors is not named by the manifest",
        ),
        (
            lambda folder: shutil.copy(
                folder / "onnx" / "model.onnx", folder / "onnx-int8" / "model_quantized.onnx"
            ),
            "int8",
            "the int8 layers of the ONNX file and the ranges differ in 12",
        ),
    ],
)
def test_an_int8_form_of_another_model_is_found_even_with_right_hashes(
    int8_package: Path, change: Callable[[Path], object], check: str, message: str
) -> None:
    change(int8_package)
    rehashed(int8_package)
    with pytest.raises(VerificationError, match=f"fails verification at {check}: .*{message}") as caught:
        require_verified(int8_package)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["quantization.safetensors", "onnx-int8/model_quantized.onnx", "onnx-int8/export.json"]
)
def test_a_missing_file_is_named(int8_package: Path, name: str) -> None:
    (int8_package / name).unlink()
    with pytest.raises(VerificationError, match=rf"{name} is missing"):
        require_verified(int8_package)


def test_int8_files_that_the_manifest_does_not_speak_of_are_found(int8_package: Path) -> None:
    path = int8_package / "manifest.json"
    write_manifest(path, read_manifest(path).model_copy(update={"quantization": None}))
    with pytest.raises(VerificationError, match=r"quantization\.safetensors is of int8, but the manifest"):
        require_verified(int8_package)


@pytest.mark.usefixtures("quick_onnx")
def test_ranges_of_another_model_are_no_part_of_a_package(
    int8_written: tuple[Path, Manifest], tmp_path: Path
) -> None:
    found = read_ranges(int8_written[0] / "quantization.safetensors")
    ranges = {f"{name}x": each for name, each in found.ranges.items()}
    contents = replace(tiny_contents(), quantization=FoundRanges(ranges, LEARNED))
    with pytest.raises(QuantizationError, match="these ranges are those of another model"):
        write_package(tmp_path / "package", contents)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_has_one_text(int8_package: Path) -> None:
    path = int8_package / "manifest.json"
    assert manifest_text(read_manifest(path)) == path.read_text()
    path.write_text(path.read_text().replace('"per_channel": false', '"per_channel": true'))
    with pytest.raises(VerificationError, match="was changed after packaging"):
        require_verified(int8_package)
