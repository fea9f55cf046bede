"""The packed file: what it keeps, and that it is mapped into memory and not copied."""

from pathlib import Path

import pytest
import torch
from engine_case import bert_config, pruned
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertForMaskedLM

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.runtime import SparseModel
from sparsezoo_hub.runtime.packed_file import PackedFile, is_packed_file, read_packed_file, write_packed_file
from sparsezoo_hub.runtime.packed_model import PACKED_FILE, load_packed, packed_file

KEY = "sparse_engine"
HIDDEN = torch.randn(70, 48, generator=torch.Generator().manual_seed(0))
STARTS = torch.tensor([0, 3, 70], dtype=torch.int32)


def tiny_bert() -> BertForMaskedLM:
    return pruned(BertForMaskedLM(bert_config(num_hidden_layers=2)), 0.8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed model with a sparse and a dense layer, which no test may change."""
    model = tiny_bert()
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.weight.fill_(0.02)
    folder = tmp_path_factory.mktemp("packed")
    SparseModel.save_pretrained(SparseModel.from_model(model), folder)
    return folder


def is_mapped(tensor: Tensor, path: Path) -> bool:
    """Whether the tensor lies in the part of this process's memory that is the file."""
    ranges = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(path))
    ]
    return any(low <= tensor.data_ptr() and tensor.data_ptr() + tensor.nbytes <= high for low, high in ranges)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="where files are mapped is not told here")
def test_every_tensor_of_a_loaded_model_lies_in_the_mapped_file(folder: Path) -> None:
    path = folder / PACKED_FILE
    model = load_packed(path)
    held = packed_file(model)
    encoder = [
        tensor
        for layer in held.encoder.layers
        for each in vars(layer).values()
        for tensor in (each.tensors().values() if hasattr(each, "tensors") else [each])
    ]
    tensors = [*encoder, *held.others.values()]
    assert all(is_mapped(tensor, path) for tensor in tensors if tensor.numel())
    assert sum(tensor.nbytes for tensor in tensors) > 0.9 * path.stat().st_size
    assert not is_mapped(torch.zeros(9), path)


def test_the_same_model_gives_the_same_bytes_and_so_does_what_was_loaded(
    folder: Path, tmp_path: Path
) -> None:
    path = folder / PACKED_FILE
    again = read_packed_file(path)
    shuffled = dict(reversed(again.others.items()))
    write_packed_file(tmp_path / "again", PackedFile(again.architecture, again.encoder, shuffled))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_whoever_has_a_model_loaded_keeps_it_when_the_file_is_replaced(tmp_path: Path) -> None:
    SparseModel.from_model(tiny_bert()).save_pretrained(tmp_path)
    loaded = load_packed(tmp_path / PACKED_FILE)
    before = loaded.bert.encoder.encoder.encode(HIDDEN, STARTS)
    SparseModel.from_model(pruned(BertForMaskedLM(bert_config(num_hidden_layers=1)), 0.1)).save_pretrained(
        tmp_path
    )
    assert torch.equal(loaded.bert.encoder.encoder.encode(HIDDEN, STARTS), before)
    assert len(load_packed(tmp_path / PACKED_FILE).bert.encoder.encoder.layers) == 1


def test_what_is_no_packed_file_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / PACKED_FILE).read_bytes()
    path = tmp_path / "file"
    for length in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(PackageError, match="cannot be read as a packed model"):
            read_packed_file(path)
        assert not is_packed_file(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(PackageError, match="cannot be read as a packed model"):
        read_packed_file(path)
    # A header of an odd length: all that comes after it begins at an odd address.
    length = int.from_bytes(whole[:8], "little") + 1
    path.write_bytes(length.to_bytes(8, "little") + whole[8 : 7 + length] + b" " + whole[7 + length :])
    with pytest.raises(PackageError, match="begins between two entries of torch"):
        read_packed_file(path)
    save_file({"some": torch.ones(1)}, path, metadata={"format": "pt"})
    with pytest.raises(PackageError, match=r"is no packed model: .* got \['format'\]; make one"):
        read_packed_file(path)
    save_file({"some": torch.ones(1)}, path, metadata={KEY: "{"})
    with pytest.raises(PackageError, match="its metadata is not JSON"):
        read_packed_file(path)
    with pytest.raises(PackageError, match="cannot be read as a packed model"):
        read_packed_file(tmp_path / "nowhere")
