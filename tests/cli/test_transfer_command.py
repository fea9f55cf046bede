import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from task_case import write_task

from sparsezoo_hub.packaging import package as package_module
from sparsezoo_hub.packaging.float_parity import FloatParity
from sparsezoo_hub.packaging.manifest import read_manifest
from sparsezoo_hub.packaging.verify import verify_package

pytestmark = pytest.mark.filterwarnings("ignore:.*clean_up_tokenization_spaces")

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--max-steps", "4", "--batch-size", "8", "--max-length", "16", "--seeds", "2")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_task(tmp_path / "data", "pubmedqa", train=24, validation=12, test=12)


@pytest.mark.slow
def test_a_package_becomes_one_for_a_task_in_int8_with_its_results_and_its_pattern(
    run: Run, written: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    searched = ("--learning-rate", "1e-2", "--learning-rate", "1e-4", "--int8")
    code, shown, err = run("transfer", written, "pubmedqa", "--data", data, "--out", out, *SMALL, *searched)
    assert (code, err) == (0, "")
    assert "search, seed 0, the best one first:" in shown
    assert "test set: accuracy" in shown
    assert "(2 seeds)" in shown
    assert [check.name for check in verify_package(out / "package", onnx=True) if not check.ok] == []
    manifest, upstream = (
        read_manifest(out / "package/manifest.json"),
        read_manifest(written / "manifest.json"),
    )
    assert manifest.sparsity.overall == upstream.sparsity.overall
    assert manifest.quantization is not None
    assert manifest.quantization.method == "quantization-aware training"
    own = {(each.split, each.metric) for each in manifest.measurements.results if each.label is None}
    assert {("validation", "accuracy"), ("test", "accuracy")} <= own
    card = (out / "package/README.md").read_text()
    assert "| text-classification | pubmedqa | test | this model | accuracy |" in card
    assert str(tmp_path) not in (out / "package/recipe.yaml").read_text()

    def copied(_model: object, _tokenizer: object, texts: list[str], folder: Path) -> FloatParity:
        shutil.copytree(out / "package/onnx", folder)  # the same again, without waiting for the exporter
        return FloatParity(manifest.measurements.onnx_max_abs_diff or 0.0, len(texts), 4, 3, 20)

    monkeypatch.setattr(package_module, "export_onnx", copied)
    again = run("transfer", written, "pubmedqa", "--data", data, "--out", out, *SMALL, *searched, "--json")
    found = json.loads(again[1])
    assert [len(found["results"][name]) for name in ("transfer", "quantized")] == [2, 2]
    assert len(found["trials"]) == 2
    assert found["test"][0]["metrics"]["accuracy"] == found["test"][0]["score"]


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("pubmedq", (), "unknown task 'pubmedq'"),
        ("pubmedqa", ("--grid", "obert"), "unknown grid 'obert'"),
        (
            "bc2gm",
            ("--grid", "prune-ofa"),
            "unknown kind of task of the grid prune-ofa 'token_classification'",
        ),
        ("pubmedqa", ("--fraction", "0"), "fraction: Input should be greater than 0, got 0.0"),
        ("pubmedqa", ("--metric", "f2"), "unknown metric of sequence_classification 'f2'"),
        ("pubmedqa", ("--field", "text=body"), "has no field 'body'"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_packaged(
    run: Run, written: Path, data: Path, tmp_path: Path, task: str, options: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out"
    code, _, err = run("transfer", written, task, "--data", data, "--out", out, *SMALL, *options)
    assert code == 1
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (out / "package").exists()


def test_a_field_without_a_name_is_a_usage_error(run: Run, written: Path) -> None:
    code, _, err = run("transfer", written, "pubmedqa", "--field", "text")
    assert code == 2
    assert "must be NAME=FIELD" in " ".join(err.split())
