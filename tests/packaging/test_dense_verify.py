"""A dense package that was changed, or that only pretends to be dense, does not pass."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packaging_case import DENSE_RECIPE, dense_contents, locked_model, rehashed
from safetensors.torch import load_file, save_file

from sparsezoo_hub.errors import VerificationError
from sparsezoo_hub.packaging.manifest import read_manifest
from sparsezoo_hub.packaging.mask_file import write_masks
from sparsezoo_hub.packaging.package import write_package
from sparsezoo_hub.packaging.verify import require_verified

FILES = {
    "README.md", "config.json", "model.safetensors", "recipe.yaml", "manifest.json", "tokenizer.json",
    "tokenizer_config.json", "onnx/model.onnx", "onnx/model.onnx.data", "onnx/export.json",
    "onnx/config.json",
}  # fmt: skip
WEIGHT = "roberta.encoder.layer.0.output.dense.weight"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_changed_byte_or_a_missing_file_is_found(dense_package: Path, name: str) -> None:
    path = dense_package / name
    content = path.read_bytes() or b"\0"  # to an empty file, a byte is added
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(VerificationError, match=name):
        require_verified(dense_package)
    path.unlink()
    with pytest.raises(VerificationError, match=rf"{name} is missing"):
        require_verified(dense_package)


def add_masks(folder: Path) -> None:
    write_masks(folder / "masks.safetensors", {"encoder.layer.0.output.dense.weight": torch.ones(32, 48) > 0})


def add_block(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "pattern_lock",
        "sparsity": 0.9,
        "mask_digest": "sha256:",
    }
    (folder / "config.json").write_text(json.dumps(config))


def add_picture(folder: Path) -> None:
    (folder / "sparsity.png").write_bytes(b"png")


def add_tag(folder: Path) -> None:
    card = folder / "README.md"
    card.write_text(card.read_text().replace("- sparsezoo-hub\n", "- sparsezoo-hub\n- pruned\n"))


def recipe_packages(stage: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "recipe.yaml").write_text(DENSE_RECIPE.replace("package: dense", f"package: {stage}"))

    return change


def prune_a_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[WEIGHT][:16] = 0.0  # half of its rows
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        (add_masks, "files", r"masks\.safetensors is of a pattern, but the manifest has no mask digest"),
        (add_picture, "files", r"sparsity\.png is of a pattern"),
        (add_block, "digest", "config.json has quantization_config, but the manifest has no mask digest"),
        (add_tag, "card", "tags of a dense model must not have pruned"),
        (recipe_packages("sparse"), "recipe", "prunes or locks the model, but the package is dense"),
        (recipe_packages("locked"), "recipe", "prunes or locks the model, but the package is dense"),
        (prune_a_weight, "zeros", rf"1 weights are pruned, {WEIGHT} for example has a fraction of 0\.5000"),
    ],
)
def test_what_contradicts_a_dense_package_is_found_even_with_right_hashes(
    dense_package: Path, change: Callable[[Path], None], check: str, message: str
) -> None:
    change(dense_package)
    with pytest.raises(VerificationError, match=r"not in the manifest|changed after packaging"):
        require_verified(dense_package)
    rehashed(dense_package)
    with pytest.raises(VerificationError, match=f"fails verification at {check}: .*{message}") as caught:
        require_verified(dense_package)
    assert "\n" not in str(caught.value)


def test_a_promised_sparsity_without_a_pattern_is_found(dense_package: Path) -> None:
    sparsity = read_manifest(dense_package / "manifest.json").sparsity
    rehashed(dense_package, sparsity=sparsity.model_copy(update={"overall": 0.9}))
    with pytest.raises(
        VerificationError, match=r"at sparsity: overall sparsity is 0\.0, the manifest says 0\.9"
    ):
        require_verified(dense_package)


@pytest.mark.usefixtures("quick_dense_onnx")
def test_a_sparse_package_cannot_be_made_to_look_dense(tmp_path: Path) -> None:
    # Its recipe prunes nothing, so that only the zeros tell.
    package = tmp_path / "package"
    contents = replace(dense_contents(), model=locked_model("roberta-mlm"))
    manifest = write_package(package, contents)
    assert manifest.sparsity.overall == pytest.approx(0.9, abs=1e-3)
    assert (manifest.sparsity.target, manifest.is_dense) == (None, False)
    require_verified(package)
    (package / "masks.safetensors").unlink()
    with pytest.raises(VerificationError, match=r"masks\.safetensors is missing"):
        require_verified(package)
    (package / "sparsity.png").unlink()
    config = json.loads((package / "config.json").read_text())
    del config["quantization_config"]
    (package / "config.json").write_text(json.dumps(config))
    sparsity = manifest.sparsity.model_copy(update={"overall": 0.0, "per_component": {}})
    rehashed(package, mask_digest=None, sparsity=sparsity)
    with pytest.raises(VerificationError, match=r"at zeros: .* 12 weights are pruned"):
        require_verified(package)
