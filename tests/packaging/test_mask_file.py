import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor

from sparsezoo_hub.core.masks import mask_digest, pack_mask
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.mask_file import read_masks, write_masks

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@st.composite
def some_masks(draw: st.DrawFn) -> dict[str, Tensor]:
    masks = {}
    for name in draw(st.lists(NAMES, unique=True, max_size=4)):
        shape = draw(st.lists(st.integers(0, 7), min_size=1, max_size=3))
        bits = draw(st.lists(st.booleans(), min_size=math.prod(shape), max_size=math.prod(shape)))
        masks[name] = torch.tensor(bits, dtype=torch.bool).view(shape)
    return masks


@pytest.fixture
def masks() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "encoder.layer.0.a.weight": torch.rand(5, 7, generator=generator) > 0.9,
        "encoder.layer.1.a.weight": torch.rand(4, 3, generator=generator) > 0.5,
    }


def rewritten(path: Path, masks: dict[str, Tensor], **changes: object) -> Path:
    """A mask file with another header, written without the code under test."""
    header = {
        "format": 1,
        "digest": mask_digest(masks),
        "shapes": {name: list(mask.shape) for name, mask in masks.items()},
        **changes,
    }
    packed = {name: pack_mask(mask) for name, mask in masks.items()}
    save_file(packed, path, metadata={"pattern_lock": json.dumps(header)})
    return path


@settings(max_examples=60, deadline=None)
@given(some_masks())
def test_masks_read_back_equal(masks: dict[str, Tensor]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks.safetensors"
        write_masks(path, masks)
        back = read_masks(path)
    assert back.keys() == masks.keys()
    assert all(torch.equal(back[name], masks[name]) for name in masks)
    assert all(back[name].dtype == torch.bool for name in masks)


def test_the_file_holds_numpys_bits(tmp_path: Path, masks: dict[str, Tensor]) -> None:
    write_masks(tmp_path / "m", masks)
    stored = load_file(tmp_path / "m")
    for name, mask in masks.items():
        expected = np.packbits(mask.numpy().ravel(), bitorder="little")
        np.testing.assert_array_equal(stored[name], expected)
    # 35 and 12 bits
    assert {name: tensor.shape for name, tensor in stored.items()} == dict(
        zip(masks, [(5,), (2,)], strict=True)
    )


def test_the_bytes_do_not_depend_on_the_order(tmp_path: Path, masks: dict[str, Tensor]) -> None:
    write_masks(tmp_path / "a", masks)
    write_masks(tmp_path / "b", dict(reversed(masks.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_truncation_is_refused(tmp_path: Path, masks: dict[str, Tensor]) -> None:
    write_masks(tmp_path / "m", masks)
    content = (tmp_path / "m").read_bytes()
    for length in range(len(content)):
        (tmp_path / "m").write_bytes(content[:length])
        with pytest.raises(PackageError, match="mask file"):
            read_masks(tmp_path / "m")


def test_every_changed_bit_of_a_mask_is_found(tmp_path: Path, masks: dict[str, Tensor]) -> None:
    write_masks(tmp_path / "m", masks)
    content = bytearray((tmp_path / "m").read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    for position in range(start, len(content)):
        for bit in range(8):
            content[position] ^= 1 << bit
            (tmp_path / "m").write_bytes(content)
            with pytest.raises(PackageError, match=r"digest|after its last entry"):
                read_masks(tmp_path / "m")
            content[position] ^= 1 << bit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "sha256:" + "0" * 64}, "the masks have digest"),
        ({"shapes": {}}, "differ in 2 names"),
        ({"shapes": {"encoder.layer.0.a.weight": [5, 8], "encoder.layer.1.a.weight": [4, 3]}}, "digest"),
        (
            {"shapes": {"encoder.layer.0.a.weight": [9, 9], "encoder.layer.1.a.weight": [4, 3]}},
            "takes 11 bytes",
        ),
        ({"shapes": {"encoder.layer.0.a.weight": [-5, 7], "encoder.layer.1.a.weight": [4, 3]}}, "malformed"),
        ({"shapes": {"encoder.layer.0.a.weight": "57", "encoder.layer.1.a.weight": [4, 3]}}, "malformed"),
        ({"shapes": {"encoder.layer.0.a.weight": [10**30], "encoder.layer.1.a.weight": [4, 3]}}, "malformed"),
        ({"format": 2}, "malformed"),
        ({"surplus": 1}, "malformed"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, masks: dict[str, Tensor], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(PackageError, match=message) as caught:
        read_masks(rewritten(tmp_path / "m", masks, **changes))
    assert "\n" not in str(caught.value)


def test_a_set_bit_after_the_last_entry_is_refused(tmp_path: Path) -> None:
    mask = torch.ones(1, 5, dtype=torch.bool)
    header = {"format": 1, "digest": mask_digest({"w": mask}), "shapes": {"w": [1, 5]}}
    save_file(
        {"w": torch.tensor([0b111111], dtype=torch.uint8)},
        tmp_path / "m",
        metadata={"pattern_lock": json.dumps(header)},
    )
    with pytest.raises(PackageError, match="after its last entry"):
        read_masks(tmp_path / "m")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="cannot be read as a mask file"):
        read_masks(tmp_path / "nothing")
    with pytest.raises(PackageError, match="cannot be read as a mask file"):
        read_masks(tmp_path)
    (tmp_path / "text").write_text("no safetensors file at all")
    with pytest.raises(PackageError, match="cannot be read as a mask file"):
        read_masks(tmp_path / "text")
    save_file({"w": torch.zeros(3)}, tmp_path / "weights", metadata={"format": "pt"})
    with pytest.raises(PackageError, match=r"without the 'pattern_lock' metadata.*\['format'\]"):
        read_masks(tmp_path / "weights")
