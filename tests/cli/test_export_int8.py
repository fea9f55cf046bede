import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from packaging_case import TEXTS
from transformers.exporters import ExportedModel

from sparsezoo_hub.cli.stored_model import load_stored_model
from sparsezoo_hub.core.quantization_names import LEARNED
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.onnx_session import session_options
from sparsezoo_hub.packaging.quantization_file import FoundRanges, write_ranges

pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")

Run = Callable[..., tuple[int, str, str]]
NAME = "encoder.layer.0.output.dense"


def with_ranges(written: Path, folder: Path) -> tuple[Path, FoundRanges]:
    """A copy of a package, with ranges as training leaves them there."""
    model, tokenizer = load_stored_model(written)
    batch = tokenizer(["the cat sat and the dog", "rain"], padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    found = FoundRanges(calibrate(model, [inputs]), LEARNED)
    copied = Path(shutil.copytree(written, folder))
    write_ranges(copied / "quantization.safetensors", found)
    return copied, found


def constants(path: Path) -> dict[str, object]:
    return {
        each.name: numpy_helper.to_array(each).tolist() for each in onnx.load(path).graph.initializer
        if each.name.startswith(f"{NAME}.")
    }  # fmt: skip


def test_a_model_without_ranges_is_quantized_after_training(
    run: Run, written: Path, text: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "int8"
    code, out, err = run("export", written, folder, "--int8", "--per-channel", "--text", text, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["method"] == "post-training quantization"
    assert found["mean_difference"] < found["rounding"]
    assert found["num_texts"] == len(TEXTS)
    assert (
        len(constants(folder / "model_quantized.onnx")[f"{NAME}.weight_scale"]) == 32
    )  # one for each feature
    _, tokenizer = load_stored_model(written)
    exported = ExportedModel.from_pretrained(folder, session_options=session_options())
    encoded = tokenizer(["the cat sat", "rain"], padding=True, return_tensors="pt")
    assert exported(**encoded).logits.shape == (*encoded["input_ids"].shape, 120)


def test_learned_ranges_are_used_as_they_are(run: Run, written: Path, text: Path, tmp_path: Path) -> None:
    package, found = with_ranges(written, tmp_path / "package")
    code, out, err = run("export", package, tmp_path / "int8", "--int8", "--text", text)
    assert (code, err) == (0, "")
    assert "by quantization-aware training" in out
    values = constants(tmp_path / "int8" / "model_quantized.onnx")
    ranges = found.ranges[f"{NAME}.weight"]
    assert values[f"{NAME}.input_scale"] == ranges.input_scale.item()
    assert values[f"{NAME}.input_zero_point"] == ranges.input_zero_point.item()
    assert values[f"{NAME}.weight_scale"] == ranges.weight_scale.item()


def test_a_range_for_each_feature_cannot_be_had_of_learned_ranges_for_each_weight(
    run: Run, written: Path, tmp_path: Path
) -> None:
    package, _ = with_ranges(written, tmp_path / "package")
    code, _, err = run("export", package, tmp_path / "int8", "--int8", "--per-channel")
    assert code == 1
    assert "has one range for each weight, from quantization-aware training" in " ".join(err.split())
    assert not (tmp_path / "int8").exists()


def test_broken_ranges_are_one_line(run: Run, written: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(written, tmp_path / "package"))
    (package / "quantization.safetensors").write_bytes(b"nothing of the kind")
    code, _, err = run("export", package, tmp_path / "int8", "--int8")
    assert code == 1
    assert "cannot be read as int8 ranges" in " ".join(err.split())
    assert "Traceback" not in err


def test_per_channel_without_int8_is_refused(run: Run, written: Path, tmp_path: Path) -> None:
    code, _, err = run("export", written, tmp_path / "onnx", "--per-channel")
    assert code == 2
    assert "--per-channel is for --int8" in " ".join(err.split())
