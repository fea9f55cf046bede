import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging_case import MODELS, locked_model
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.compact_weights import expand_compact, write_compact

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.float8_e4m3fn)


@st.composite
def weights_and_masks(draw: st.DrawFn) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    tensors, masks = {}, {}
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    for index in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
        dtype = draw(st.sampled_from(DTYPES))
        tensor = (torch.randn(shape, generator=generator) * 3).to(dtype)
        name = f"layer.{index}.weight"
        if draw(st.booleans()):
            masks[name] = torch.rand(shape, generator=generator) < draw(st.floats(0, 1))
            bytes_of = tensor.flatten().view(torch.uint8).view(tensor.numel(), tensor.element_size())
            bytes_of[~masks[name].flatten()] = 0
            name = f"bert.{name}"
        tensors[name] = tensor
    return tensors, masks


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@settings(max_examples=60, deadline=None)
@given(weights_and_masks(), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_the_very_same_file_comes_back(
    content: tuple[dict[str, Tensor], dict[str, Tensor]], metadata: dict[str, str]
) -> None:
    tensors, masks = content
    with tempfile.TemporaryDirectory() as folder:
        weights, compact, back = (Path(folder) / name for name in ("weights", "compact", "back"))
        save_file(tensors, weights, metadata=metadata)
        size = write_compact(weights, masks, compact)
        expand_compact(compact, back)
        assert back.read_bytes() == weights.read_bytes()
        assert (size.raw, size.compact) == (weights.stat().st_size, compact.stat().st_size)


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_saved_under_its_head_comes_back(tmp_path: Path, kind: str) -> None:
    model = locked_model(kind)
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    masks = PatternLock.masks(model)
    size = write_compact(weights, masks, tmp_path / "compact")
    expand_compact(tmp_path / "compact", tmp_path / "back")
    assert sha256(tmp_path / "back") == sha256(weights)
    # Of 4 bytes for each locked weight, 0.1 * 4 and one bit stay; the rest is a header for each tensor.
    saved = sum(mask.numel() for mask in masks.values()) * (4 - 0.4 - 1 / 8)
    assert size.compact == pytest.approx(size.raw - saved, abs=0.1 * size.raw)
    assert size.ratio == pytest.approx(size.raw / size.compact)


def test_the_file_holds_numpys_bits_and_the_kept_values(tmp_path: Path) -> None:
    mask = torch.tensor([[True, False, False, True, True], [False, False, True, False, False]])
    weight = torch.arange(10.0).view(2, 5) * mask + mask
    save_file(
        {"bert.w": weight, "bias": torch.tensor([1.5])}, tmp_path / "weights", metadata={"format": "pt"}
    )
    write_compact(tmp_path / "weights", {"w": mask}, tmp_path / "compact")
    stored = load_file(tmp_path / "compact")
    assert stored.keys() == {"header", "values/bert.w", "mask/bert.w", "dense/bias"}
    expected = np.packbits(mask.numpy().ravel(), bitorder="little")
    np.testing.assert_array_equal(stored["mask/bert.w"], expected)
    np.testing.assert_array_equal(stored["values/bert.w"].view(np.float32), [1.0, 4.0, 5.0, 8.0])


@pytest.mark.parametrize("value", [-0.0, 1.0, float("nan"), 1e-45])
def test_a_pruned_weight_must_be_exactly_plus_zero(tmp_path: Path, value: float) -> None:
    mask = torch.tensor([[True, False]])
    save_file({"w": torch.tensor([[1.0, value]])}, tmp_path / "weights")
    with pytest.raises(PackageError, match=r"w is not exactly \+0\.0"):
        write_compact(tmp_path / "weights", {"w": mask}, tmp_path / "compact")


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"v": torch.ones(1, 2, dtype=torch.bool)}, "got none"),
        ({"w": torch.ones(2, 1, dtype=torch.bool)}, r"has shape \(1, 2\)"),
        ({"w": torch.ones(1, 2)}, "must be bool"),
        ({"x": torch.ones(1, 2, dtype=torch.bool)}, "got 2: a.x, b.x"),
    ],
)
def test_masks_of_another_model_are_refused(tmp_path: Path, masks: dict[str, Tensor], message: str) -> None:
    tensors = {name: torch.ones(1, 2) for name in ("w", "a.x", "b.x")}
    save_file(tensors, tmp_path / "weights")
    with pytest.raises(PackageError, match=message):
        write_compact(tmp_path / "weights", masks, tmp_path / "compact")


def test_a_changed_or_truncated_compact_file_leaves_nothing_behind(tmp_path: Path) -> None:
    mask = torch.tensor([[True, False, True]])
    save_file({"w": torch.tensor([[1.0, 0.0, 2.0]]), "b": torch.ones(3)}, tmp_path / "weights")
    write_compact(tmp_path / "weights", {"w": mask}, tmp_path / "compact")
    content = (tmp_path / "compact").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    changes = [content[:length] for length in range(0, len(content), 7)]
    for position in range(start, len(content)):
        changes.append(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    for changed in changes:
        (tmp_path / "compact").write_bytes(changed)
        with pytest.raises(PackageError) as caught:
            expand_compact(tmp_path / "compact", tmp_path / "back")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "back").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(3)}, tmp_path / "weights")
    with pytest.raises(PackageError, match="is no compact weights file"):
        expand_compact(tmp_path / "weights", tmp_path / "back")
    with pytest.raises(PackageError, match="cannot be expanded"):
        expand_compact(tmp_path / "nothing", tmp_path / "back")
    with pytest.raises(PackageError, match="cannot be read as weights"):
        write_compact(tmp_path / "nothing", {}, tmp_path / "compact")
    (tmp_path / "empty").touch()
    with pytest.raises(PackageError, match="cannot be read as weights"):
        write_compact(tmp_path / "empty", {}, tmp_path / "compact")
    metadata = {"compact_weights": json.dumps({"format": 1, "sha256": "0" * 64})}
    save_file({"w": torch.zeros(3)}, tmp_path / "bare", metadata=metadata)
    with pytest.raises(PackageError, match="'header' is missing"):
        expand_compact(tmp_path / "bare", tmp_path / "back")
