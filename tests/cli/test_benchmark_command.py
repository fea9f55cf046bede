import json
import shutil
from collections.abc import Callable
from pathlib import Path

from sparsezoo_hub.packaging.manifest import read_manifest
from sparsezoo_hub.packaging.verify import require_verified

Run = Callable[..., tuple[int, str, str]]


def test_every_way_is_measured_for_every_shape_and_recorded(run: Run, written: Path, tmp_path: Path) -> None:
    package = shutil.copytree(written, tmp_path / "package")
    code, out, err = run(
        "benchmark", package, "--length", 8, "--length", 20, "--batch", 2, "--rounds", 2, "--threads", 1,
        "--record", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["threads"], found["rounds"]) == (1, 2)
    ways = ["ONNX Runtime", "PyTorch", "sparse engine"]
    assert [(each["way"], each["batch"], each["length"]) for each in found["entries"]] == [
        (way, 2, length) for length in (8, 20) for way in ways
    ]
    assert all(0 < each["fastest"] <= each["median"] <= each["slowest"] for each in found["entries"])
    assert "head" in found["note"]  # it is a language model
    assert require_verified(package).measurements.latency is not None
    assert "| sparse engine | 2 x 20 |" in (package / "README.md").read_text()


def test_without_record_the_package_stays_as_it_is_and_a_table_is_printed(run: Run, written: Path) -> None:
    code, out, err = run("benchmark", written, "--length", 8, "--rounds", 1)
    assert (code, err) == (0, "")
    assert "1 x 8" in out
    assert "sparse engine" in out
    assert "note: " in out
    assert read_manifest(written / "manifest.json").measurements.latency is None


def test_rows_longer_than_the_model_takes_are_refused(run: Run, written: Path) -> None:
    code, _, err = run("benchmark", written, "--length", 100_000)
    assert code == 1
    assert "takes rows of at most" in err
    assert "100000" in err


def test_only_a_folder_can_be_recorded(run: Run) -> None:
    code, _, err = run("benchmark", "org/model", "--record")
    assert code == 2
    assert "pull it" in err
