import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.inspection import inspect_package
from sparsezoo_hub.packaging.manifest import Manifest


def test_every_tensor_is_in_one_group_with_its_zeros(written: tuple[Path, Manifest]) -> None:
    stored = load_file(written[0] / "model.safetensors")
    inspection = inspect_package(written[0])
    listed = [tensor for group in inspection.groups for tensor in group.tensors]
    assert sorted(tensor.name for tensor in listed) == sorted(stored)
    for tensor in listed:
        assert tensor.shape == stored[tensor.name].shape
        assert tensor.zeros == (stored[tensor.name] == 0).sum()
        assert tensor.sparsity == tensor.zeros / stored[tensor.name].size


def test_the_groups_are_those_of_the_architecture(written: tuple[Path, Manifest]) -> None:
    groups = {group.name: group for group in inspect_package(written[0]).groups}
    assert {name: len(group.tensors) for name, group in groups.items()} == {
        "pruned": 12,  # 2 layers of 6
        "embeddings": 3,
        "layer_norm": 5,
        "biases": 17,
        "head": 5,  # cls.predictions: bias, dense and LayerNorm
    }
    assert groups["pruned"].sparsity == pytest.approx(0.9, abs=1e-3)
    assert groups["layer_norm"].zeros == 0
    assert groups["embeddings"].zeros == 32  # the row of the padding token


def test_it_is_json_and_agrees_with_the_manifest(written: tuple[Path, Manifest]) -> None:
    folder, manifest = written
    content = json.loads(json.dumps(inspect_package(folder).to_dict()))
    assert content["name"] == content["recipe"] == "tiny-90"
    assert content["mask_digest"] == manifest.mask_digest
    assert content["sparsity"] == manifest.sparsity.overall
    assert content["target"] == 0.9
    assert content["sizes"]["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    assert content["weights_sha256"] == manifest.files["model.safetensors"].sha256


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is no package"):
        inspect_package(tmp_path)
