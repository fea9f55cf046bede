"""A model without a pattern: its package says so, and everything else is as in any package."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from packaging_case import (
    DENSE_RECIPE,
    TEXTS,
    dense_contents,
    dense_model,
    locked_model,
)
from safetensors.torch import load_file

from sparsezoo_hub.core.lineage import ancestors
from sparsezoo_hub.core.pattern_lock import PatternLock, is_locked
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.compact_weights import expand_compact, write_compact
from sparsezoo_hub.packaging.inspection import inspect_package
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest
from sparsezoo_hub.packaging.package import write_package
from sparsezoo_hub.packaging.recipe_promise import promises_pattern
from sparsezoo_hub.packaging.verify import require_verified, verify_package

FILES = {
    "README.md", "config.json", "model.safetensors", "recipe.yaml", "manifest.json", "tokenizer.json",
    "tokenizer_config.json", "onnx/model.onnx", "onnx/model.onnx.data", "onnx/export.json",
    "onnx/config.json",
}  # fmt: skip
CHECKS = ["manifest", "files", "hashes", "zeros", "digest", "sparsity", "recipe", "card", "onnx"]
# In a process without our package: only what a stranger has.
STRANGER = """
import sys
from transformers import AutoModelForMaskedLM
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1])
assert "sparsezoo_hub" not in sys.modules
print(type(model).__name__, model.num_parameters())
"""


def test_nothing_in_a_dense_package_is_of_a_pattern(dense_written: tuple[Path, Manifest]) -> None:
    folder, manifest = dense_written
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES
    content = json.loads((folder / "manifest.json").read_text())
    assert content["mask_digest"] is None
    assert content["sparsity"] == {"target": None, "overall": 0.0, "per_component": {}}
    assert "quantization_config" not in (folder / "config.json").read_text()
    assert "quantization_config" not in (folder / "onnx" / "config.json").read_text()
    assert read_manifest(folder / "manifest.json") == manifest


def test_it_passes_every_check_and_says_that_it_is_dense(dense_written: tuple[Path, Manifest]) -> None:
    checks = {check.name: check for check in verify_package(dense_written[0], onnx=True)}
    assert list(checks) == CHECKS
    assert all(check.ok for check in checks.values()), checks
    assert checks["zeros"].detail == "no pruned weight: the package is dense"
    assert checks["digest"].detail == "none, neither in config.json nor in manifest.json"
    assert checks["recipe"].detail == "tiny-dense: prunes nothing and locks nothing"


def test_a_stranger_loads_it_without_this_package(dense_written: tuple[Path, Manifest]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(dense_written[0])], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["RobertaForMaskedLM", str(dense_model("roberta-mlm").num_parameters())]


def test_its_weights_are_the_models(dense_written: tuple[Path, Manifest]) -> None:
    stored = load_file(dense_written[0] / "model.safetensors")
    for name, parameter in dense_model("roberta-mlm").named_parameters():
        assert torch.equal(stored[name], parameter)


def test_the_card_speaks_of_no_pattern(dense_written: tuple[Path, Manifest]) -> None:
    card = ModelCard.load(dense_written[0] / "README.md")
    assert card.data.tags == ["sparsezoo-hub", "roberta"]
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "fill-mask")
    assert "It is dense: no weight of it is pruned,\nand no pattern is locked." in card.text
    assert 'AutoModelForMaskedLM.from_pretrained("local/tiny-dense")' in card.text
    assert "- Pattern: none\n" in card.text
    assert (
        "| dense | backbone | masked lm | text | 40 | 8 | 0.001, linear, warm-up 0 | none | none |"
        in card.text
    )
    headings = [line for line in card.text.splitlines() if line.startswith("#") and "registers" not in line]
    assert headings == [
        "# tiny-dense", "## Load it", "## Fine-tune it", "## Run it in ONNX Runtime", "## Lineage",
        "### The architecture: RoBERTa", "## Results", "## Size of the weights", "## How it was made",
        "## Limits", "## Citation",
    ]  # fmt: skip
    for foreign in ("import sparsezoo_hub", "sparsity.png", "compact:", "None", "the zeros are", "mask bits"):
        assert foreign not in card.text


def test_the_inspection_finds_no_pruned_weight(dense_written: tuple[Path, Manifest]) -> None:
    inspection = inspect_package(dense_written[0])
    assert (inspection.sparsity, inspection.target, inspection.mask_digest) == (0.0, None, None)
    assert {group.name: len(group.tensors) for group in inspection.groups} == {
        "dense": 12,  # 2 layers of 6
        "embeddings": 3,
        "layer_norm": 5,
        "biases": 17,
        "head": 5,  # lm_head: bias, and weight and bias of dense and of layer_norm
    }


def test_the_compact_form_is_the_whole_file_and_comes_back(
    dense_written: tuple[Path, Manifest], tmp_path: Path
) -> None:
    weights = dense_written[0] / "model.safetensors"
    size = write_compact(weights, {}, tmp_path / "compact")
    expand_compact(tmp_path / "compact", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == weights.read_bytes()
    assert size.compact > size.raw
    sizes = dense_written[1].measurements.sizes
    assert sizes is not None
    assert (sizes.raw, sizes.compact) == (weights.stat().st_size, None)


@pytest.mark.parametrize(("stage", "promised"), [("sparse", True), ("dense", False), ("locked", True)])
def test_only_the_stages_that_made_the_model_promise(stage: str, promised: bool) -> None:
    recipe = parse_recipe(DENSE_RECIPE.replace("package: dense", f"package: {stage}"), "recipe.yaml")
    assert [each.name for each in ancestors(recipe)][-1] == stage
    assert promises_pattern(recipe) == promised


@pytest.mark.parametrize("stage", ["sparse", "locked"])
def test_an_unlocked_model_of_a_recipe_with_a_pattern_is_refused(tmp_path: Path, stage: str) -> None:
    recipe = parse_recipe(DENSE_RECIPE.replace("package: dense", f"package: {stage}"), "recipe.yaml")
    with pytest.raises(PackageError, match="RobertaForMaskedLM is not locked, so it has no pattern"):
        write_package(tmp_path / "package", replace(dense_contents(), recipe=recipe))
    assert not list(tmp_path.iterdir())


def test_zeros_that_nothing_locks_are_no_dense_model(tmp_path: Path) -> None:
    model = locked_model("roberta-mlm")
    PatternLock.unlock(model)
    with pytest.raises(PackageError, match=r"12 weights are pruned, .* PatternLock\.lock_from_zeros"):
        write_package(tmp_path / "package", replace(dense_contents(), model=model))
    assert not list(tmp_path.iterdir())


def test_a_lock_block_without_a_lock_is_refused(tmp_path: Path) -> None:
    contents = dense_contents()
    contents.model.config.quantization_config = {"quant_method": "pattern_lock"}
    with pytest.raises(PackageError, match="has quantization_config, but none of its weights is locked"):
        write_package(tmp_path / "package", contents)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick_dense_onnx")
def test_a_dense_package_takes_the_place_of_a_sparse_one_whole(tmp_path: Path) -> None:
    package = tmp_path / "package"
    write_package(package, replace(dense_contents(), model=locked_model("roberta-mlm")))
    assert (package / "masks.safetensors").is_file()
    write_package(package, dense_contents())
    assert require_verified(package).is_dense


@pytest.mark.parametrize("kind", ["bert-classifier", "distilbert-mlm"])
def test_every_family_has_dense_members(kind: str, tmp_path: Path) -> None:
    contents = dense_contents(kind)
    manifest = write_package(tmp_path / "package", contents)
    assert require_verified(tmp_path / "package", onnx=True) == manifest
    assert manifest.measurements.onnx_num_texts == len(TEXTS)
    again = type(contents.model).from_pretrained(tmp_path / "package")
    assert not is_locked(again)
