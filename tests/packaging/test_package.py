import gzip
import hashlib
import json
import os
import stat
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from packaging_case import RECIPE, TEXTS, locked_model, magnitude_masks
from safetensors.numpy import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.packaging.compact_weights import write_compact
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest
from sparsezoo_hub.packaging.mask_file import read_masks
from sparsezoo_hub.packaging.package import PackageContents, gzip_size

Written = tuple[Path, Manifest]


def test_the_folder_has_what_a_package_has_and_nothing_else(written: Written) -> None:
    folder, _ = written
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "config.json", "model.safetensors", "masks.safetensors", "recipe.yaml", "manifest.json",
        "sparsity.png", "tokenizer.json", "tokenizer_config.json",
        "onnx/model.onnx", "onnx/model.onnx.data", "onnx/export.json", "onnx/config.json",
    }  # fmt: skip
    assert sorted(folder.parent.iterdir()) == [folder]


def test_the_manifest_has_every_files_hash(written: Written) -> None:
    folder, manifest = written
    assert read_manifest(folder / "manifest.json") == manifest
    assert manifest.files.keys() == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {"manifest.json"}
    for name, entry in manifest.files.items():
        content = (folder / name).read_bytes()
        assert (entry.sha256, entry.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert timedelta(0) <= datetime.now(UTC) - manifest.created < timedelta(hours=1)


def test_the_weights_are_the_models_with_its_zeros(written: Written) -> None:
    stored = load_file(written[0] / "model.safetensors")
    model = locked_model()
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(stored[name], parameter.detach().numpy())
    for name, mask in magnitude_masks(model).items():
        np.testing.assert_array_equal(stored[f"bert.{name}"] == 0, ~mask.numpy())


def test_the_sparsity_is_what_numpy_counts(written: Written) -> None:
    stored = load_file(written[0] / "model.safetensors")
    sparsity = written[1].sparsity
    assert sparsity.target == 0.9
    counts = {name: (stored[f"bert.{name}"] == 0) for name in magnitude_masks(locked_model())}
    assert sparsity.per_component.keys() == counts.keys()
    for name, entry in sparsity.per_component.items():
        assert (entry.numel, entry.zeros) == (counts[name].size, counts[name].sum())
        assert abs(entry.zeros - 0.9 * entry.numel) <= 1
    total = np.concatenate([count.ravel() for count in counts.values()])
    assert sparsity.overall == pytest.approx(total.mean(), abs=1e-12)


def test_masks_config_and_manifest_agree(written: Written) -> None:
    folder, manifest = written
    masks = read_masks(folder / "masks.safetensors")
    expected = PatternLock.masks(locked_model())
    assert masks.keys() == expected.keys()
    assert all(torch.equal(masks[name], expected[name]) for name in masks)
    config = json.loads((folder / "config.json").read_text())
    assert config["quantization_config"] == {
        "quant_method": "pattern_lock",
        "sparsity": round(manifest.sparsity.overall, 6),
        "mask_digest": mask_digest(expected),
    }
    assert manifest.mask_digest == mask_digest(expected)


def test_the_sizes_are_what_other_programs_measure(written: Written) -> None:
    folder, manifest = written
    weights = folder / "model.safetensors"
    sizes = manifest.measurements.sizes
    assert sizes is not None
    assert sizes.raw == weights.stat().st_size
    assert sizes.gzip == len(gzip.compress(weights.read_bytes(), 6, mtime=0))
    with tempfile.TemporaryDirectory() as other:
        write_compact(weights, read_masks(folder / "masks.safetensors"), Path(other) / "compact")
        assert sizes.compact == (Path(other) / "compact").stat().st_size
    assert sizes.compact < sizes.raw


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_gzip_size_agrees_with_the_gzip_module(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(1).integers(0, 4, size, dtype=np.uint8).tobytes()
    (tmp_path / "f").write_bytes(content)
    assert gzip_size(tmp_path / "f") == len(gzip.compress(content, 6, mtime=0))


def test_what_was_measured_is_kept_and_the_rest_filled_in(written: Written) -> None:
    measurements = written[1].measurements
    assert measurements.mlm is not None
    assert (measurements.mlm.teacher, measurements.mlm.student) == (2.5, 2.75)
    assert (measurements.train_seconds, measurements.hardware) == (12.5, "2 cores")
    assert measurements.onnx_max_abs_diff is not None
    assert measurements.onnx_max_abs_diff < 1e-4
    assert measurements.onnx_num_texts == len(TEXTS)


def test_recipe_and_parents_are_recorded(written: Written) -> None:
    folder, manifest = written
    assert parse_recipe((folder / "recipe.yaml").read_text(), "recipe.yaml") == parse_recipe(RECIPE, "r")
    assert (manifest.parents.backbone, manifest.parents.base_model, manifest.parents.teacher) == (
        "bert, initialised at random",
        "some-org/some-bert",
        "teacher",
    )
    assert {"python", "torch", "transformers", "sparsezoo_hub"} <= manifest.versions.keys()


def test_stock_transformers_loads_model_and_tokenizer(written: Written, contents: PackageContents) -> None:
    folder, _ = written
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    inputs = contents.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    again = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    assert torch.equal(inputs["input_ids"], again["input_ids"])
    known = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(**known).logits, locked_model().eval()(**known).logits)


def test_the_hubs_library_reads_the_card(written: Written) -> None:
    card = ModelCard.load(written[0] / "README.md")
    assert (card.data.license, card.data.base_model) == ("apache-2.0", "some-org/some-bert")
    assert 'from_pretrained("local/tiny-90")' in card.text


def test_everybody_may_read_every_file(written: Written) -> None:
    umask = os.umask(0)
    os.umask(umask)
    for path in written[0].rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask
