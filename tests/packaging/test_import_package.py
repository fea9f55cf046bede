"""What an import leaves behind: a verified package like any other, that says where it comes from."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from import_case import OLD_RECIPE, sparse_model, sparseml_tensors, torch_prune_tensors, write_folder
from packaging_case import TEXTS, magnitude_masks
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sparsezoo_hub.cli.app import main
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import PackageError, RecipeError
from sparsezoo_hub.packaging.imports.import_folder import import_folder
from sparsezoo_hub.packaging.inspection import inspect_package
from sparsezoo_hub.packaging.verify import verify_package

KIND = "distilbert-classifier"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run() -> Run:
    """Run the command line in this process; returns exit code, standard output and standard error."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr("sys.argv", ["sparsezoo-hub", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        return int(ended.value.code or 0), out.getvalue(), err.getvalue()

    return run_command


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of SparseZoo: a checkpoint in ``training``, quantization-aware, with its recipe."""
    folder = tmp_path_factory.mktemp("zoo") / "Old *Model*"
    write_folder(
        folder / "training", sparse_model(KIND), sparseml_tensors(sparse_model(KIND)), "pytorch_model.bin"
    )
    (folder / "training" / "recipe.yaml").write_text(OLD_RECIPE)
    return folder


@pytest.fixture(scope="module")
def imported(old: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The package that the command makes of it, and what the command reports."""
    out = tmp_path_factory.mktemp("packages") / "package"
    code, printed, complaint = run("import", old, out, "--json")
    assert code == 0, complaint
    return out, json.loads(printed)


def test_the_package_is_verified_and_loads_locked(imported: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = imported
    assert all(check.ok for check in verify_package(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["package"]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    expected = sparse_model(KIND)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    masks, wanted = PatternLock.masks(model), magnitude_masks(expected)
    assert masks.keys() == wanted.keys()
    assert all(torch.equal(masks[name], wanted[name]) for name in wanted)


def test_the_report_says_what_was_read_and_left_out(imported: tuple[Path, dict[str, Any]]) -> None:
    _, report = imported
    assert report["format"] == "sparseml"
    assert report["files"] == ["pytorch_model.bin"]
    assert report["recipes"] == ["original/recipe.yaml"]
    assert report["explicit_masks"] == 0
    assert report["not_locked"] == []
    # Six linear layers in each of two layers, their inputs and weights; two embeddings.
    scales = [name for name in report["left_out"] if name.endswith(".scale")]
    assert len(scales) == 2 * 6 * 2 + 2
    assert report["manifest"]["name"] == "old-model"
    assert report["manifest"]["sparsity"]["target"] is None
    assert report["manifest"]["sparsity"]["overall"] == pytest.approx(0.9, abs=1e-3)


def test_the_old_recipe_is_a_file_of_the_package(imported: tuple[Path, dict[str, Any]]) -> None:
    folder, report = imported
    assert (folder / "original" / "recipe.yaml").read_text() == OLD_RECIPE
    assert "original/recipe.yaml" in report["manifest"]["files"]


def test_lineage_is_told_in_recipe_manifest_and_card(imported: tuple[Path, dict[str, Any]]) -> None:
    folder, report = imported
    origin = "imported from Old *Model*, a training folder of SparseML"
    assert report["manifest"]["parents"]["backbone"] == origin
    recipe = parse_recipe((folder / "recipe.yaml").read_text(), "recipe.yaml")
    assert recipe.stages == ()
    assert recipe.summary.startswith("Imported from Old *Model*, a training folder of SparseML. ")
    assert "is in original/recipe.yaml" in recipe.summary
    card = ModelCard((folder / "README.md").read_text())
    assert "imported from Old \\*Model\\*, a training folder of SparseML" in card.text
    assert "By others, before it was imported." in card.text
    assert "- Teacher: not known" in card.text
    assert "Precision" not in card.text
    assert "the model itself was made elsewhere" in card.text
    assert card.data.get("model-index") is None
    assert card.data.get("base_model") is None
    assert card.data.pipeline_tag == "text-classification"
    assert inspect_package(folder).recipe == "old-model"


def test_tokenizer_and_onnx_come_along(old: Path, imported: tuple[Path, dict[str, Any]]) -> None:
    folder, report = imported
    stored = Tokenizer.from_file(str(old / "training" / "tokenizer.json"))
    expected = [each.ids for each in stored.encode_batch(list(TEXTS))]
    assert AutoTokenizer.from_pretrained(folder)(list(TEXTS))["input_ids"] == expected
    assert report["manifest"]["measurements"]["onnx_max_abs_diff"] < 1e-3
    assert (folder / "onnx" / "model.onnx").is_file()


def test_there_is_nothing_to_train_in_its_recipe(
    imported: tuple[Path, dict[str, Any]], run: Run, tmp_path: Path
) -> None:
    code, _, complaint = run("train", imported[0] / "recipe.yaml", "--out", tmp_path / "run")
    assert code == 1
    assert "has no stages, for its model was made elsewhere" in " ".join(complaint.split())


def test_a_recipe_without_stages_is_one_of_an_imported_model_only() -> None:
    text = "{name: a, summary: b, parents: {old: {model_type: bert, pretrained: c}}, stages: [], package: "
    assert parse_recipe(f"{text} old}}", "r.yaml").stages == ()
    with pytest.raises(RecipeError, match="a recipe needs at least one stage"):
        parse_recipe(f"{text} new}}", "r.yaml")


def test_a_folder_with_other_files_is_not_touched(old: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(PackageError, match="is not replaced"):
        import_folder(old, tmp_path, TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_a_broken_checkpoint_is_one_line_and_leaves_an_earlier_package_as_it_was(
    imported: tuple[Path, dict[str, Any]], run: Run, tmp_path: Path
) -> None:
    folder, _ = imported
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    tensors = torch_prune_tensors(sparse_model(KIND))
    tensors.pop("classifier.bias")
    broken = write_folder(tmp_path / "broken", sparse_model(KIND), tensors, "pytorch_model.bin")
    code, _, complaint = run("import", broken, folder)
    assert code == 1
    assert complaint.count("\n") == 1
    assert "lacks 1 tensors" in complaint
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
