import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging_case import TEXTS
from transformers import AutoTokenizer, pipeline
from transformers.exporters import ExportedModel

from sparsezoo_hub.cli.stored_model import load_stored_model
from sparsezoo_hub.core.quantization_names import LEARNED
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.quantization_file import FoundRanges, write_ranges
from sparsezoo_hub.runtime import SparseModel

pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")

Run = Callable[..., tuple[int, str, str]]
PACKED = "sparse_model.safetensors"


def kinds(folder: Path) -> set[object]:
    layers = SparseModel.from_pretrained(folder).bert.encoder.encoder.layers
    return {layer.up.numbers()["kind"] for layer in layers}


def test_the_folder_has_all_that_a_pipeline_needs(
    run: Run, written: Path, text: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "packed"
    code, out, err = run("export", written, folder, "--format", "sparse", "--text", text, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["max_abs_diff"] < 1e-4
    assert (found["num_texts"], found["num_padded"]) == (len(TEXTS), 4)
    assert found["size"] == (folder / PACKED).stat().st_size
    model, tokenizer = load_stored_model(written)
    assert found["dense_size"] == 4 * model.num_parameters()
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == tokenizer.get_vocab()
    filled = pipeline("fill-mask", model=SparseModel.from_pretrained(folder), tokenizer=str(folder))(
        "a [MASK]"
    )
    assert len(filled) == 5


def test_it_is_said_how_close_and_how_large_it_is(
    run: Run, written: Path, text: Path, tmp_path: Path
) -> None:
    code, out, _ = run("export", written, tmp_path / "packed", "--format", "sparse", "--text", text)
    said = " ".join(out.split())
    assert code == 0
    assert "of the dense float32 weights; max abs difference to PyTorch " in said
    assert f"over {len(TEXTS)} texts" in said


def test_in_a_package_the_manifest_lists_it_and_the_tokenizer_stays_where_it_is(
    run: Run, written: Path, text: Path, tmp_path: Path
) -> None:
    package = Path(shutil.copytree(written, tmp_path / "package"))
    assert run("export", package, package / "sparse", "--format", "sparse", "--text", text)[0] == 0
    assert sorted(path.name for path in (package / "sparse").iterdir()) == [
        "config.json",
        "export.json",
        PACKED,
    ]
    assert run("verify", package)[0] == 0
    assert f"SparseModel.from_pretrained('{package}')" in run("info", package)[1]
    batch = AutoTokenizer.from_pretrained(package)("the cat sat", return_tensors="pt")
    assert ExportedModel.from_pretrained(package, subfolder="sparse")(**batch).logits.shape[-1] == 120
    (package / "sparse" / "export.json").unlink()
    code, out, _ = run("verify", package)
    assert code == 1
    assert "sparse/export.json is missing" in " ".join(out.split())


def test_a_package_of_another_model_is_left_alone(
    run: Run, written: Path, text: Path, tmp_path: Path
) -> None:
    package = Path(shutil.copytree(written, tmp_path / "package"))
    for model, folder in ((written, "sparse"), (package, "other")):
        code, _, err = run("export", model, package / folder, "--format", "sparse", "--text", text)
        assert code == 1
        assert "its manifest lists every file in it" in " ".join(err.split())
        assert not (package / folder).exists()


def test_int8_is_by_the_learned_ranges_or_calibrated(
    run: Run, written: Path, text: Path, tmp_path: Path
) -> None:
    options = ("--format", "sparse", "--int8", "--text", text, "--json")
    code, out, err = run("export", written, tmp_path / "calibrated", *options, "--per-channel")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["method"] == "post-training quantization"
    assert found["mean_difference"] < found["rounding"]
    assert kinds(tmp_path / "calibrated") == {"int8"}
    package = Path(shutil.copytree(written, tmp_path / "package"))
    model, tokenizer = load_stored_model(written)
    batch = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    write_ranges(package / "quantization.safetensors", FoundRanges(calibrate(model, [batch]), LEARNED))
    code, out, err = run("export", package, tmp_path / "learned", *options)
    assert (code, err) == (0, "")
    assert json.loads(out)["method"] == "quantization-aware training"
    assert kinds(tmp_path / "learned") == {"int8"}


def test_in_bfloat16_it_is_smaller_and_close_within_the_rounding(
    run: Run, written: Path, text: Path, tmp_path: Path
) -> None:
    options = ("--format", "sparse", "--text", text, "--json")
    sizes = {}
    for name, chosen in (("floats", ()), ("bfloats", ("--bf16",))):
        code, out, err = run("export", written, tmp_path / name, *options, *chosen)
        assert (code, err) == (0, "")
        sizes[name] = json.loads(out)["size"]
    assert kinds(tmp_path / "bfloats") == {"bfloat16"}
    assert sizes["bfloats"] < sizes["floats"]
    assert 0 < json.loads(out)["max_abs_diff"] < json.loads(out)["tolerance"]


@pytest.mark.parametrize("options", [("--format", "onnx"), ("--format", "sparse", "--int8")])
def test_bfloat16_is_for_the_sparse_engine_and_instead_of_int8(
    run: Run, written: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    code, _, err = run("export", written, tmp_path / "packed", "--bf16", *options)
    assert code == 2
    assert "without --int8" in " ".join(err.split())
    assert not (tmp_path / "packed").exists()


def test_an_unknown_format_is_refused_with_those_that_there_are(
    run: Run, written: Path, tmp_path: Path
) -> None:
    code, _, err = run("export", written, tmp_path / "packed", "--format", "tflite")
    assert code == 2
    assert "'onnx'" in err
    assert "'sparse'" in err
