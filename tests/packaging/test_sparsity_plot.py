import struct
import zlib
from pathlib import Path

import matplotlib as mpl
import pytest

from sparsezoo_hub.core.sparsity_report import ComponentSparsity
from sparsezoo_hub.packaging.sparsity_plot import draw_sparsity

KINDS = ("attention.self.query", "attention.self.key", "attention.output.dense", "intermediate.dense")


def components(num_layers: int) -> list[ComponentSparsity]:
    return [
        ComponentSparsity(f"encoder.layer.{layer}.{kind}.weight", 100, 90 - layer)
        for layer in range(num_layers)
        for kind in KINDS
    ]


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, by hand; the checksums are checked."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, position = [], 8
    while position < len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        kind, body = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", content[position + 8 + length : position + 12 + length])
        assert zlib.crc32(kind + body) == checksum
        found.append((kind, body))
        position += 12 + length
    return found


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    draw_sparsity(tmp_path / "a.png", components(3), "tiny")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # the user's own settings
        draw_sparsity(tmp_path / "b.png", components(3), "tiny")
        assert mpl.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_picture_carries_no_date_and_no_text(tmp_path: Path) -> None:
    draw_sparsity(tmp_path / "a.png", components(3), "tiny")
    assert {kind for kind, _ in chunks(tmp_path / "a.png")} <= {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


@pytest.mark.parametrize("num_layers", [1, 3, 12, 24])
def test_each_layer_gets_its_row(tmp_path: Path, num_layers: int) -> None:
    draw_sparsity(tmp_path / "a.png", components(num_layers), "tiny")
    width, height = struct.unpack(">II", dict(chunks(tmp_path / "a.png"))[b"IHDR"][:8])
    assert 500 < width < 1600
    assert 40 * num_layers < height < 40 * num_layers + 400


def test_other_components_and_hostile_titles_are_drawn(tmp_path: Path) -> None:
    odd = [*components(2), ComponentSparsity("pooler.dense.weight", 10, 3), ComponentSparsity("x", 1, 0)]
    draw_sparsity(tmp_path / "a.png", odd, "a $\\frac{ title\nwith $ and " + "x" * 500)
    assert chunks(tmp_path / "a.png")[-1][0] == b"IEND"
