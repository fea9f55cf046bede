from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsezoo_hub.core.fake_quantization import LayerRanges, ranges_tensors
from sparsezoo_hub.core.quantization_names import CALIBRATED, LEARNED
from sparsezoo_hub.errors import PackageError, QuantizationError
from sparsezoo_hub.packaging.quantization_file import (
    FoundRanges,
    read_ranges,
    write_ranges,
)

NAME = "encoder.layer.0.output.dense.weight"


def ranges(*scales: float) -> dict[str, LayerRanges]:
    return {
        NAME: LayerRanges(
            weight_scale=torch.tensor(scales),
            input_scale=torch.tensor([0.5]),
            input_zero_point=torch.tensor([128], dtype=torch.int32),
        )
    }


@pytest.mark.parametrize(("scales", "per_channel"), [((0.25,), False), ((0.25, 0.5, 1.0), True)])
def test_what_was_written_is_read(tmp_path: Path, scales: tuple[float, ...], per_channel: bool) -> None:
    write_ranges(tmp_path / "ranges", FoundRanges(ranges(*scales), CALIBRATED))
    found = read_ranges(tmp_path / "ranges")
    assert (found.method, found.per_channel, list(found.ranges)) == (CALIBRATED, per_channel, [NAME])
    assert found.ranges[NAME].weight_scale.tolist() == list(scales)
    assert found.ranges[NAME].input_scale.tolist() == [0.5]
    assert found.ranges[NAME].input_zero_point.tolist() == [128]


def test_what_training_saves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "quantization.safetensors"
    save_file(ranges_tensors(ranges(0.25)), path, metadata={"method": "quantization-aware training"})
    assert read_ranges(path).method == LEARNED


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"method": "guessing"}])
def test_a_file_of_another_format_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"weight": torch.ones(2)}, path, metadata=metadata)
    with pytest.raises(PackageError, match=r"file\.safetensors is no file of int8 ranges") as caught:
        read_ranges(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PackageError, match=r"file\.safetensors cannot be read"):
        read_ranges(path)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("weight_scale", torch.tensor([0.0]), "above 0"),
        ("weight_scale", torch.tensor([0.5, float("nan")]), "finite"),
        ("weight_scale", torch.ones(2, 2), "one per output feature"),
        ("weight_scale", torch.ones(0), "one per output feature"),
        ("weight_scale", torch.tensor([1], dtype=torch.int64), r"must be torch\.float32"),
        ("input_scale", torch.tensor([0.5, 0.5]), "with one value"),
        ("input_scale", torch.tensor([-0.5]), "above 0"),
        ("input_zero_point", torch.tensor([256], dtype=torch.int32), r"in \[0, 255\]"),
        ("input_zero_point", torch.tensor([1, 2], dtype=torch.int32), "with one value"),
        ("input_zero_point", torch.tensor([1.5]), r"must be torch\.int32"),
        ("input_zero_point", None, "missing or unknown"),
        ("colour", torch.tensor([1.0]), "missing or unknown"),
    ],
)
def test_broken_values_are_refused_with_the_path(
    tmp_path: Path, part: str, value: torch.Tensor | None, message: str
) -> None:
    path = tmp_path / "quantization.safetensors"
    write_ranges(path, FoundRanges(ranges(0.25), LEARNED))
    tensors = load_file(path)
    tensors.pop(f"{NAME}/{part}", None)
    save_file(tensors if value is None else {**tensors, f"{NAME}/{part}": value}, path, {"method": LEARNED})
    with pytest.raises(QuantizationError, match=rf"quantization\.safetensors: .*{message}") as caught:
        read_ranges(path)
    assert "\n" not in str(caught.value)


def test_ranges_of_nothing_are_refused(tmp_path: Path) -> None:
    save_file({}, tmp_path / "empty", metadata={"method": LEARNED})
    with pytest.raises(QuantizationError, match="empty has the ranges of no layer"):
        read_ranges(tmp_path / "empty")
