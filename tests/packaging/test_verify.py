import hashlib
import json
import random
import socket
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from packaging_case import RECIPE, rehashed
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sparsezoo_hub.errors import VerificationError
from sparsezoo_hub.packaging.layout import package_files
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest, write_manifest
from sparsezoo_hub.packaging.verify import require_verified, verify_package

FILES = (
    "README.md", "config.json", "model.safetensors", "masks.safetensors", "recipe.yaml", "manifest.json",
    "sparsity.png", "tokenizer.json", "tokenizer_config.json",
    "onnx/model.onnx", "onnx/model.onnx.data", "onnx/export.json", "onnx/config.json",
)  # fmt: skip


NUM_FLIPS = 20  # of single bits, in every file


def failed(folder: Path) -> list[str]:
    return [check.name for check in verify_package(folder) if not check.ok]


def test_a_package_as_written_passes_every_check(
    written: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("verification asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    checks = verify_package(written[0], onnx=True)
    assert [check.name for check in checks] == [
        "manifest", "files", "hashes", "zeros", "digest", "sparsity", "recipe", "card", "onnx",
    ]  # fmt: skip
    assert all(check.ok for check in checks), checks
    assert require_verified(written[0]) == written[1]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_in_any_file_is_found(package: Path, name: str) -> None:
    path = package / name
    content = path.read_bytes()
    for position in (0, len(content) // 3, len(content) // 2, max(0, len(content) - 1)):
        changed = bytes([content[position] ^ 1]) if content else b"\1"  # to an empty file, a byte is added
        path.write_bytes(content[:position] + changed + content[position + 1 :])
        with pytest.raises(VerificationError, match=name) as caught:
            require_verified(package)
        assert "\n" not in str(caught.value)
    path.write_bytes(content[:-1] or b"\0")
    assert failed(package)
    path.write_bytes(content)
    assert failed(package) == []


def test_every_flipped_bit_is_found_and_its_file_named(package: Path) -> None:
    draw = random.Random(7)  # noqa: S311
    assert sorted(FILES) == package_files(package)
    for name in FILES:
        path = package / name
        content = bytearray(path.read_bytes())
        for bit in draw.sample(range(8 * len(content)), min(NUM_FLIPS, 8 * len(content))):
            content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            (problem,) = [check for check in verify_package(package) if not check.ok]
            assert name in problem.detail, (name, bit)
            content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
    assert failed(package) == []


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(package: Path, name: str) -> None:
    (package / name).unlink()
    with pytest.raises(VerificationError, match=rf"{name} is missing"):
        require_verified(package)


@pytest.mark.parametrize("name", ["extra.bin", "onnx/extra", ".hidden", "manifest.json.bak"])
def test_a_file_too_many_is_named(package: Path, name: str) -> None:
    (package / name).touch()
    with pytest.raises(VerificationError, match=rf"{name} is not in the manifest"):
        require_verified(package)


def test_what_git_and_the_hub_put_beside_is_no_concern(package: Path) -> None:
    (package / ".gitattributes").write_text("*.safetensors filter=lfs")
    (package / ".git").mkdir()
    (package / ".git" / "HEAD").touch()
    (package / ".cache" / "huggingface").mkdir(parents=True)
    (package / ".cache" / "huggingface" / "note").touch()
    assert failed(package) == []


def test_a_snapshot_of_links_is_a_package(package: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    for name in FILES:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(package / name)
    assert failed(snapshot) == []


@pytest.mark.parametrize("place", ["nothing-here", "README.md"])
def test_what_is_no_package_folder_is_refused(package: Path, place: str) -> None:
    with pytest.raises(VerificationError, match="is no folder"):
        require_verified(package / place)


def edited_json(name: str, edit: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        edit(content)
        (folder / name).write_text(json.dumps(content))

    return change


def edited_weights(edit: Callable[[torch.Tensor], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        edit(tensors["bert.encoder.layer.1.output.dense.weight"])
        save_file(tensors, path, metadata={"format": "pt"})

    return change


def revive_one(weight: torch.Tensor) -> None:
    weight.view(-1)[(weight.view(-1) == 0).nonzero()[5]] = 1e-30


def minus_zero(weight: torch.Tensor) -> None:
    weight.view(-1)[(weight.view(-1) == 0).nonzero()[5]] = -0.0


def zero_a_kept_one(weight: torch.Tensor) -> None:
    weight.view(-1)[(weight.view(-1) != 0).nonzero()[5]] = 0.0


def edited_recipe(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        assert old in RECIPE
        (folder / "recipe.yaml").write_text(RECIPE.replace(old, new))

    return change


def edited_card(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        card = (folder / "README.md").read_text()
        assert old in card
        (folder / "README.md").write_text(card.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        (edited_weights(revive_one), "zeros", r"1 weights that are not exactly \+0\.0"),
        (edited_weights(minus_zero), "zeros", r"1 weights that are not exactly \+0\.0"),
        (
            edited_weights(zero_a_kept_one),
            "sparsity",
            r"counted zeros differ .* in 1: encoder\.layer\.1\.output",
        ),
        (edited_json("config.json", lambda c: c.pop("quantization_config")), "digest", "got None"),
        (
            edited_json("config.json", lambda c: c["quantization_config"].update(sparsity=0.5)),
            "digest",
            "quantization_config must be",
        ),
        (
            edited_json("config.json", lambda c: c.update(architectures=["os.system"])),
            "recipe",
            "architectures",
        ),
        (edited_json("config.json", lambda c: c.update(hidden_size="x")), "recipe", "describes no model"),
        (
            edited_json("config.json", lambda c: c.update(num_hidden_layers=3)),
            "recipe",
            "differ in 6 weights",
        ),
        (edited_recipe("final_sparsity: 0.9,", "final_sparsity: 0.95,"), "recipe", "recipe's target is 0.95"),
        (
            edited_recipe("final_sparsity: 0.9,", "final_sparsity: 0.9, ignore: ['*query*'],"),
            "recipe",
            "differ in 2",
        ),
        (edited_recipe("steps: 30", "stepz: 30"), "zeros", "recipe.yaml"),
        (lambda folder: (folder / "recipe.yaml").write_bytes(b"\xff"), "zeros", "not UTF-8"),
        (lambda folder: (folder / "config.json").write_text("[]"), "zeros", "must hold a JSON object"),
        (lambda folder: (folder / "config.json").write_text("{"), "zeros", "is not JSON"),
        (lambda folder: (folder / "README.md").write_text("# bare"), "card", "YAML block"),
        (
            edited_card("value: 0.8125", "value: 0.9125"),
            "card",
            r"claims accuracy 0\.9125 on parts \(validation, text-classification\), which the manifest",
        ),
        (edited_card("type: parts", "type: sst2"), "card", "claims accuracy 0.8125 on sst2"),
        (edited_card("split: validation", "split: test"), "card", r"on parts \(test,"),
        (
            lambda folder: (folder / "model.safetensors").write_text("no"),
            "zeros",
            "cannot be read as weights",
        ),
        (lambda folder: (folder / "masks.safetensors").unlink(), "files", "masks.safetensors is not named"),
    ],
)
def test_a_package_whose_parts_disagree_is_found_even_with_right_hashes(
    package: Path, change: Callable[[Path], None], check: str, message: str
) -> None:
    change(package)
    rehashed(package)
    with pytest.raises(VerificationError, match=f"fails verification at {check}: .*{message}") as caught:
        require_verified(package)
    assert "\n" not in str(caught.value)


def test_a_target_that_is_not_met_is_found(package: Path) -> None:
    edited_recipe("final_sparsity: 0.9,", "final_sparsity: 0.905,")(package)
    manifest = read_manifest(package / "manifest.json")
    sparsity = manifest.sparsity.model_copy(update={"target": 0.905})
    write_manifest(package / "manifest.json", manifest.model_copy(update={"sparsity": sparsity}))
    rehashed(package)
    # 922 of 1024 are zero, round(0.905 * 1024) is 927
    with pytest.raises(VerificationError, match=r"has 922 zeros, the recipe's 0\.905 means 927"):
        require_verified(package)


def test_masks_of_another_pattern_are_found(package: Path) -> None:
    path = package / "masks.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["pattern_lock"])
    packed = load_file(path)
    name = "encoder.layer.0.attention.self.query.weight"
    packed[name][0] ^= 1
    digest = hashlib.sha256()
    for each in sorted(packed):
        digest.update(f"{each}\0{tuple(header['shapes'][each])}\0".encode() + packed[each].numpy().tobytes())
    header["digest"] = f"sha256:{digest.hexdigest()}"
    save_file(packed, path, metadata={"pattern_lock": json.dumps(header)})
    rehashed(package)
    assert failed(package)[0] in ("zeros", "digest")


def test_onnx_weights_of_another_model_are_found(package: Path) -> None:
    path = package / "onnx" / "model.onnx"
    model = onnx.load(path)
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT:
            weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, path)
    rehashed(package)
    assert failed(package) == []
    with pytest.raises(VerificationError, match=r"at onnx: .*(differs from PyTorch|cannot be run)"):
        require_verified(package, onnx=True)
