import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

Run = Callable[..., tuple[int, str, str]]
# 2 layers of 4 square matrices and 2 of 32 by 48, and the square matrix of the masked-LM head.
PRUNABLE = 2 * (4 * 32**2 + 2 * 32 * 48) + 32**2


@pytest.fixture
def dense(written: Path, tmp_path: Path) -> Path:
    """A plain folder with the package's weights, none of them zero."""
    folder = tmp_path / "dense [plain]"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    weights = load_file(written / "model.safetensors")
    filled = {name: 1 + torch.rand(each.shape, generator=generator) for name, each in weights.items()}
    save_file(filled, folder / "model.safetensors")
    return folder


def test_sizes_compare_every_model_with_the_first(run: Run, written: Path, dense: Path) -> None:
    code, out, err = run("inspect", "--sizes", dense, written, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["gzip_level"], found["zstd_level"]) == (6, 9)
    first, second = found["models"]
    assert (first["name"], second["name"]) == (str(dense), str(written))
    assert first["prunable"] == second["prunable"] == PRUNABLE
    assert first["parameters"] == second["parameters"]
    assert (first["zeros"], first["sparsity"]) == (0, 0.0)
    assert second["sparsity"] == second["zeros"] / PRUNABLE
    assert first["compression"] == {"size": 1.0, "gzip": 1.0, "zstd": 1.0}
    for form in ("size", "gzip", "zstd"):
        assert second["compression"][form] == first[form] / second[form]
    assert second["size"] == (written / "model.safetensors").stat().st_size
    assert second["compression"]["gzip"] > 1.5


def test_the_table_has_whole_numbers_however_narrow_the_terminal(
    run: Run, written: Path, dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    first, second = json.loads(run("inspect", "--sizes", dense, written, "--json")[1])["models"]
    code, out, err = run("inspect", "--sizes", dense, written)
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if "0.0%" in line or "sparsity" in line]
    assert "model" in lines[0]
    assert "gzip MB" in lines[0]
    assert f"{dense}" in lines[1]
    for row in (first, second):
        (line,) = (each for each in out.splitlines() if row["name"] in each)
        cells = [each.strip() for each in line.replace("│", "|").split("|")]
        assert f"{row['parameters']:,}" in cells
        assert f"{row['zeros']:,}" in cells
        assert f"{100 * row['sparsity']:.1f}%" in cells
        assert f"{row['size'] / 1_000_000:.2f}" in cells
        assert f"{first['gzip'] / row['gzip']:.2f}" in cells
    assert "1 MB is 10^6 bytes; gzip at level 6, zstd at level 9" in out


def test_several_models_without_sizes_are_a_usage_error(run: Run, written: Path) -> None:
    code, out, err = run("inspect", written, written)
    assert (code, out) == (2, "")
    assert "got 2 models: give one, or compare them with --sizes" in " ".join(err.replace("│", " ").split())


def test_one_model_without_sizes_is_inspected_as_ever(run: Run, written: Path) -> None:
    code, out, _ = run("inspect", written, "--json")
    assert code == 0
    assert json.loads(out)["name"] == "tiny-90"


def test_a_folder_without_weights_is_one_line(run: Run, written: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = run("inspect", "--sizes", written, tmp_path / "empty")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "model.safetensors cannot be read as weights" in err
    assert err.count("\n") == 1
