"""What cannot be imported: one line that says what and where, and nothing written."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from import_case import bitmask_tensors, intel_labs_tensors, load_imported, sparse_model, write_folder
from packaging_case import TEXTS
from torch import Tensor
from transformers import PreTrainedModel

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.imports.import_folder import import_folder

KIND = "bert-classifier"
QUERY = "bert.encoder.layer.0.attention.self.query"


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return sparse_model(KIND)


def refusal(folder: Path) -> str:
    """What an import says, which must be one line, after which nothing has been written."""
    out = folder.parent / "out"
    with pytest.raises(PackageError) as refused:
        import_folder(folder, out, TEXTS)
    assert [path for path in folder.parent.iterdir() if path != folder] == []
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


Change = Callable[[dict[str, Tensor]], None]


def without(name: str) -> Change:
    return lambda tensors: tensors.__delitem__(name)


def with_value(name: str, index: int, value: float) -> Change:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[index] = value

    return change


def with_tensor(name: str, tensor: Tensor) -> Change:
    return lambda tensors: tensors.update({name: tensor})


def zero_kept(tensors: dict[str, Tensor]) -> None:
    kept = tensors[f"{QUERY}.weight_mask"].bool()
    original = tensors[f"{QUERY}.weight_original"].clone()
    original[kept] = torch.where(torch.arange(int(kept.sum())) < 2, 0.0, original[kept])
    tensors[f"{QUERY}.weight_original"] = original


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_tensor(f"{QUERY}.weight_mask", torch.ones(32, 16)), "mask has shape (32, 16), its weight has"),
        (with_value(f"{QUERY}.weight_mask", 5, 0.5), "weight_mask must have 0 and 1 only, got 0.5"),
        (without(f"{QUERY}.weight_mask"), f"{QUERY}.weight_original has no {QUERY}.weight_mask beside it"),
        (with_tensor(f"{QUERY}.weight", torch.ones(32, 32)), f"{QUERY}.weight is there twice"),
        (zero_kept, f"{QUERY}.weight has 2 weights of 0 that its mask keeps"),
        (with_value("classifier.bias", 1, float("nan")), "classifier.bias has 1 values that are not finite"),
        (with_value(f"{QUERY}.bias", 1, float("inf")), f"{QUERY}.bias has 1 values that are not finite"),
        (with_tensor("classifier.bias", torch.ones(4, dtype=torch.int8)), "classifier.bias is torch.int8"),
        (without("classifier.weight"), "lacks 1 tensors, which would be made up at random"),
        (with_tensor("classifier.weight", torch.ones(7, 32)), "the model of config.json has (4, 32)"),
        (with_tensor("bert.encoder.layer.0.weight_scale", torch.ones(1)), "has 1 tensors, which nothing"),
        (with_tensor("two\nlines", torch.ones(1)), "has a tensor named 'two\\nlines'"),
        (with_tensor(f"{QUERY}.bitmask", torch.ones(4)), "of intel-labs and of sparse-bitmask at once"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_refused_by_name(
    change: Change, message: str, model: PreTrainedModel, tmp_path: Path
) -> None:
    tensors = intel_labs_tensors(model)
    change(tensors)
    assert message in refusal(write_folder(tmp_path / "old", model, tensors, "pytorch_model.bin"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(f"{QUERY}.compressed"), f"bitmask has no {QUERY}.compressed beside it"),
        (without(f"{QUERY}.row_offsets"), "row_offsets are not where the rows"),
        (with_value(f"{QUERY}.row_offsets", 3, 0), "row_offsets are not where the rows"),
        (with_value(f"{QUERY}.compressed", 0, 0.0), "compressed has 1 zeros"),
        (with_tensor(f"{QUERY}.compressed", torch.ones(3)), "compressed has 3 values"),
        (with_tensor(f"{QUERY}.shape", torch.tensor([2**40, 2**40])), "bitmask must be uint8 of shape"),
        (with_tensor(f"{QUERY}.shape", torch.tensor([-32, 32])), "shape must be two whole numbers above 0"),
        (with_tensor(f"{QUERY}.shape", torch.tensor([32, 31])), "bitmask has bits set after its last column"),
        (with_tensor(f"{QUERY}.weight", torch.ones(32, 32)), f"{QUERY}.weight is there twice"),
    ],
)
def test_parts_of_a_bitmask_that_do_not_fit_are_refused(
    change: Change, message: str, model: PreTrainedModel, tmp_path: Path
) -> None:
    tensors = bitmask_tensors(model)
    # A bit in the last column, which a narrower shape would lose.
    tensors[f"{QUERY}.bitmask"] = torch.full((32, 4), 128, dtype=torch.uint8)
    tensors[f"{QUERY}.compressed"] = torch.ones(128)
    tensors[f"{QUERY}.row_offsets"] = torch.arange(0, 128, 4)
    change(tensors)
    assert message in refusal(write_folder(tmp_path / "old", model, tensors, "model.safetensors"))


def test_a_weight_that_its_mask_prunes_must_be_zero(model: PreTrainedModel, tmp_path: Path) -> None:
    tensors = dict(model.state_dict())
    mask = tensors[f"{QUERY}.weight"] != 0
    row, column = (~mask).nonzero()[0].tolist()
    tensors[f"{QUERY}.mask"] = mask
    folder = write_folder(tmp_path / "old", model, tensors, "pytorch_model.bin")
    assert load_imported(folder)[0] == "sparseml"
    tensors[f"{QUERY}.weight"] = tensors[f"{QUERY}.weight"].clone()
    tensors[f"{QUERY}.weight"][row, column] = 1.0
    folder = write_folder(tmp_path / "old", model, tensors, "pytorch_model.bin")
    assert f"{QUERY}.weight has 1 nonzero values where its mask says pruned" in refusal(folder)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_a_truncated_file_is_refused(file: str, model: PreTrainedModel, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "old", model, model.state_dict(), file) / file
    content = path.read_bytes()
    for size in (0, 7, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert f"{path} cannot be read as weights" in refusal(path.parent)


def test_a_changed_bit_in_a_pickled_file_is_found_by_its_checksum(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    path = (
        write_folder(tmp_path / "old", model, model.state_dict(), "pytorch_model.bin") / "pytorch_model.bin"
    )
    with zipfile.ZipFile(path) as archive:
        member = next(each for each in archive.infolist() if each.filename.endswith("data/3"))
    content = bytearray(path.read_bytes())
    content[member.header_offset + 200] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch does not look
    assert f"the checksum of {member.filename} in it is wrong" in refusal(path.parent)


def test_a_file_of_the_hubs_cache_must_have_the_digest_it_is_named_by(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    folder = write_folder(
        tmp_path / "models--org--old" / "snapshots" / "abc", model, model.state_dict(), "model.safetensors"
    )
    blobs = tmp_path / "models--org--old" / "blobs"
    blobs.mkdir()
    blob = blobs / ("0" * 64)
    shutil.move(folder / "model.safetensors", blob)
    (folder / "model.safetensors").symlink_to(blob)
    assert f"the Hub promised {'0' * 64}" in refusal(folder)


def test_a_file_that_would_run_code_is_refused_and_runs_none(model: PreTrainedModel, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "touched",)

    folder = write_folder(tmp_path / "old", model, {}, "pytorch_model.bin")
    torch.save({"weight": Evil()}, folder / "pytorch_model.bin")
    assert "it wants to run" in refusal(folder)


def test_what_is_no_tensor_is_named(model: PreTrainedModel, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "old", model, {}, "pytorch_model.bin")
    for content, words in (([1], "got list"), ({"epoch": 3}, "got int as 'epoch'"), ({}, "without a tensor")):
        torch.save(content, folder / "pytorch_model.bin")
        assert words in refusal(folder)


def test_shards_must_all_be_there_with_what_the_index_promises(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    write_folder(folder, model, {}, "pytorch_model.bin")
    (folder / "pytorch_model.bin").unlink()
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    half = len(tensors) // 2
    parts = [dict(list(tensors.items())[:half]), dict(list(tensors.items())[half:])]
    weight_map = {name: shard for shard, part in zip(names, parts, strict=True) for name in part}
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    torch.save(parts[0], folder / names[0])
    assert f"lacks 1 of 2 shards, {names[1]} for example" in refusal(folder)
    torch.save(parts[1], folder / names[1])
    assert torch.equal(load_imported(folder)[1].classifier.weight, model.classifier.weight)
    torch.save(dict(list(parts[1].items())[1:]), folder / names[1])
    assert f"{names[1]} lacks 1 tensors of the index" in refusal(folder)
    for text in ("{", "[]", '{"weight_map": {"a": "../elsewhere.bin"}}', '{"weight_map": {"a": 3}}'):
        index.write_text(text)
        assert "is no index of shards" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type must be bert, roberta or distilbert, got 'gpt2'"),
        ({"model_type": None}, "model_type must be bert, roberta or distilbert, got None"),
        ({"architectures": ["BertForEverything"]}, "architectures must name one model of transformers"),
        ({"quantization_config": {"quant_method": "gptq"}}, "is quantized by 'gptq'"),
        ({"quantization_config": {"quant_method": "pattern_lock"}}, "is a locked model already"),
        ({"hidden_size": 31}, "has no model to load"),
        ({"vocab_size": 20}, "the model of config.json has (20, 32)"),
    ],
)
def test_a_config_of_something_else_is_refused(
    changes: dict[str, object], message: str, model: PreTrainedModel, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "old", model, model.state_dict(), "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    assert message in refusal(folder)


def test_a_folder_without_what_is_needed_is_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    with pytest.raises(PackageError, match="is no folder"):
        import_folder(folder, tmp_path / "out", TEXTS)
    write_folder(folder, model, model.state_dict(), "model.safetensors")
    (folder / "tokenizer.json").write_text("{")
    assert "has no tokenizer to load" in refusal(folder)
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer (tokenizer.json, vocab.txt or vocab.json)" in refusal(folder)
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    assert "is a pointer of Git LFS" in refusal(folder)
    (folder / "model.safetensors").rename(folder / "a.pt")
    (folder / "b.pt").touch()
    (folder / "optimizer.pt").touch()
    assert "or one other weights file, got a.pt, b.pt" in refusal(folder)
    (folder / "config.json").unlink()
    assert "has no config.json, and neither has its training" in refusal(folder)
    (folder / "manifest.json").touch()
    assert "it is a package or a locked model already" in refusal(folder)
