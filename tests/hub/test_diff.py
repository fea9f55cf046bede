import shutil
from pathlib import Path

import numpy as np
import pytest
from manage_case import manifest_of, variant
from packaging_case import rehashed
from safetensors.numpy import load_file, save_file

from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.hub.diff import diff_packages
from sparsezoo_hub.packaging.mask_file import read_masks, write_masks

QUERY = "encoder.layer.0.attention.self.query.weight"


def test_a_package_is_the_same_as_itself(written: Path) -> None:
    diff = diff_packages(written, written)
    assert diff.is_same
    assert diff.jaccard == 1.0
    assert all(each.equal for each in diff.weights)
    assert (diff.recipe, diff.not_compared) == ((), ())


def test_masks_are_compared_entry_by_entry(written: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(written, tmp_path / "other"))
    masks = read_masks(other / "masks.safetensors")
    flat = masks[QUERY].flatten()  # 32 x 32, 10 % of it kept: 102 entries
    kept, pruned = flat.nonzero().flatten(), (~flat).nonzero().flatten()
    flat[kept[:7]] = False
    flat[pruned[:3]] = True
    masks[QUERY] = flat.view(32, 32)
    write_masks(other / "masks.safetensors", masks)
    rehashed(other, mask_digest=mask_digest(masks))
    diff = diff_packages(written, other)
    assert not diff.is_same
    (changed,) = (each for each in diff.masks if each.jaccard != 1.0)
    assert changed.name == QUERY
    assert (changed.kept_in_both, changed.kept_in_first, changed.kept_in_second) == (95, 7, 3)
    assert changed.kept_in_neither == 1024 - 105
    assert changed.jaccard == pytest.approx(95 / 105)
    assert diff.to_dict()["masks"][0]["jaccard"] == diff.masks[0].jaccard


def test_weights_are_compared_by_the_largest_and_the_relative_difference(
    written: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(written, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    name = "bert.encoder.layer.0.attention.self.query.bias"
    tensors[name] = np.zeros(32, np.float32)
    shifted = "bert.encoder.layer.0.attention.output.LayerNorm.weight"  # ones, as transformers starts it
    tensors[shifted] = tensors[shifted] + np.float32(0.5)
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    rehashed(other)
    changed = {each.name: each for each in diff_packages(written, other).weights if not each.equal}
    assert changed[shifted].max_abs == pytest.approx(0.5)
    assert changed[shifted].relative == pytest.approx(0.5)
    before = load_file(written / "model.safetensors")[name]
    if before.any():
        assert changed[name].relative == pytest.approx(1.0)
    else:
        assert changed.keys() == {shifted}


def test_recipe_results_and_files_are_compared(written: Path, tmp_path: Path) -> None:
    manifest = manifest_of(written)
    (own, dense) = manifest.measurements.results
    better = own.model_copy(update={"mean": 0.9})
    second = own.model_copy(update={"dataset": "others", "mean": 0.5})
    measured = manifest.measurements.model_copy(update={"results": (better, second, dense), "mlm": None})
    other = variant(
        written, tmp_path / "other", {"recipe.yaml": ("A tiny BERT", "A small BERT")}, measurements=measured
    )
    (other / "sparsity.png").unlink()
    (other / "notes.txt").write_text("new")
    rehashed(other)
    diff = diff_packages(written, other)
    assert diff.recipe[:2] == ("--- A", "+++ B")
    assert [line for line in diff.recipe[2:] if line[0] in "-+"] == [
        "-summary: A tiny BERT for tests.",
        "+summary: A small BERT for tests.",
    ]
    assert [(each.name, each.first, each.second) for each in diff.results] == [
        ("accuracy on parts (validation)", 0.8125, 0.9),
        ("masked-LM loss", 2.75, None),
        ("accuracy on others (validation)", None, 0.5),
    ]
    assert diff.files.changed == ("manifest.json", "recipe.yaml")
    assert diff.files.only_in_first == ("sparsity.png",)
    assert diff.files.only_in_second == ("notes.txt",)
    assert diff.files.num_same == len(manifest.files) - 2


def test_other_architectures_are_said_to_be_other(written: Path, tmp_path: Path) -> None:
    other = variant(
        written,
        tmp_path / "other",
        {"config.json": ('"intermediate_size": 48', '"intermediate_size": 96')},
    )
    tensors = load_file(other / "model.safetensors")
    name = "bert.encoder.layer.0.intermediate.dense.bias"
    tensors[name] = np.zeros(96, np.float32)
    del tensors["bert.encoder.layer.1.intermediate.dense.bias"]
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    rehashed(other)
    diff = diff_packages(written, other)
    assert diff.architectures == (
        "BertForMaskedLM, intermediate_size 48",
        "BertForMaskedLM, intermediate_size 96",
    )
    assert diff.not_compared == (
        "1 weights are only in A, bert.encoder.layer.1.intermediate.dense.bias for example",
        f"1 weights have another shape in each, {name} for example",
    )
    assert name not in {each.name for each in diff.weights}
