"""Packed models: saved, loaded and exported, as users do it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_case import MODELS, bert_config, pruned, ragged
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedModel,
    pipeline,
)
from transformers.exporters import AutoHfExporter, ExportedModel

from sparsezoo_hub.core.fake_quantization import apply_ranges
from sparsezoo_hub.core.quantization_names import CALIBRATED
from sparsezoo_hub.errors import BackboneError, PackageError
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.quantization_file import FoundRanges, write_ranges
from sparsezoo_hub.runtime import SparseModel
from sparsezoo_hub.runtime.packed_model import PACKED_FILE

FILES = {"config.json", "export.json", PACKED_FILE}


def same(ours: object, theirs: object) -> bool:
    """Whether two outputs are of the same class and the same bits."""
    assert type(ours) is type(theirs)
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_what_is_saved_is_loaded_again_bit_for_bit_everywhere(name: str, tmp_path: Path) -> None:
    model = pruned(MODELS[name](), 0.8)
    sparse, batch = SparseModel.from_model(model), ragged([5, 64, 30], model.config.pad_token_id)
    sparse.save_pretrained(tmp_path / "sparse")
    assert {path.name for path in (tmp_path / "sparse").iterdir()} == FILES
    expected = sparse(**batch)
    for loaded in (
        SparseModel.from_pretrained(tmp_path / "sparse"),
        SparseModel.from_pretrained(str(tmp_path)),
        SparseModel.from_pretrained(tmp_path, subfolder="sparse", local_files_only=True),
    ):
        assert type(loaded) is type(model)
        assert not loaded.training
        assert same(loaded(**batch), expected)
    exported = ExportedModel.from_pretrained(tmp_path, subfolder="sparse", device="cpu")
    assert same(exported(**batch), expected)
    assert (exported.dtype, exported.device) == (torch.float32, torch.device("cpu"))
    AutoHfExporter.from_config({"export_format": "sparse"}).export(model, batch, {}).save_pretrained(
        tmp_path / "exported"
    )
    assert {path.name for path in (tmp_path / "exported").iterdir()} == FILES
    assert same(ExportedModel.from_pretrained(tmp_path / "exported")(**batch), expected)
    packed = [(tmp_path / folder / PACKED_FILE).read_bytes() for folder in ("sparse", "exported")]
    assert packed[0] == packed[1]


@torch.no_grad()
def test_a_loaded_model_is_in_every_other_way_the_one_that_was_saved(tmp_path: Path) -> None:
    model = pruned(BertForMaskedLM(bert_config(id2label={0: "no", 1: "yes"})), 0.8)
    SparseModel.from_model(model.bfloat16()).save_pretrained(tmp_path)
    loaded = SparseModel.from_pretrained(tmp_path)
    decoder, words = loaded.cls.predictions.decoder, loaded.bert.embeddings.word_embeddings
    assert decoder.weight is words.weight
    assert decoder.bias is loaded.cls.predictions.bias
    assert loaded.bert.embeddings.position_ids.tolist() == [list(range(260))]
    assert loaded.bert.embeddings.token_type_ids.tolist() == [[0] * 260]
    assert loaded.config.num_hidden_layers == 2
    assert loaded.config.id2label == {0: "no", 1: "yes"}
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    assert not any(each.requires_grad or each.is_meta for each in loaded.parameters())
    assert list(loaded.state_dict()) == list(SparseModel.from_model(model).state_dict())


@torch.no_grad()
def test_a_locked_package_is_packed_without_its_lock_and_a_pipeline_takes_it(
    written: Path, tmp_path: Path
) -> None:
    SparseModel.save_pretrained(SparseModel.from_pretrained(written), tmp_path / "sparse")
    tokenizer = AutoTokenizer.from_pretrained(written)
    tokenizer.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "sparse" / "config.json").read_bytes())
    text = f"a text with one {tokenizer.mask_token} word"
    models = (SparseModel.from_pretrained(tmp_path), AutoModelForMaskedLM.from_pretrained(written).eval())
    ours, theirs = (pipeline("fill-mask", model=each, tokenizer=str(tmp_path))(text) for each in models)
    assert [each["token"] for each in ours] == [each["token"] for each in theirs]
    assert [each["score"] for each in ours] == pytest.approx([each["score"] for each in theirs], rel=1e-4)


def quantized(written: Path, folder: Path) -> tuple[Path, PreTrainedModel]:
    """A package with int8 ranges, and the model that is rounded by them."""
    model = AutoModelForMaskedLM.from_pretrained(written).eval()
    found = FoundRanges(calibrate(model, [ragged([9, 14], 0)]), CALIBRATED)
    copied = Path(shutil.copytree(written, folder))
    write_ranges(copied / "quantization.safetensors", found)
    apply_ranges(model, found.ranges)
    return copied, model


@torch.no_grad()
def test_a_quantized_package_is_computed_in_int8_and_saved_so(written: Path, tmp_path: Path) -> None:
    package, rounded = quantized(written, tmp_path / "package")
    sparse, batch = SparseModel.from_pretrained(package, attention=torch.float32), ragged([9, 14], 0)
    kinds = {
        linear.numbers()["kind"] for layer in sparse.bert.encoder.encoder.layers for linear in [layer.up]
    }
    assert kinds == {"int8"}
    kept = batch["attention_mask"].bool()
    expected, floats = (
        model(**batch).logits[kept] for model in (rounded, SparseModel.from_pretrained(written))
    )
    got = sparse(**batch).logits[kept]
    # A value between two codes may fall to either side; what int8 changes is more than what that changes.
    assert (got - expected).abs().mean() < 0.2 * (floats - expected).abs().mean()
    sparse.save_pretrained(package / "sparse")
    assert same(SparseModel.from_pretrained(package)(**batch), sparse(**batch))
    assert same(ExportedModel.from_pretrained(package, subfolder="sparse")(**batch), sparse(**batch))


def test_options_on_how_to_make_a_model_are_heard_where_there_is_a_packed_one_too(
    written: Path, tmp_path: Path
) -> None:
    package = Path(shutil.copytree(written, tmp_path / "package"))
    SparseModel.from_pretrained(package).save_pretrained(package / "sparse")
    (package / "sparse" / PACKED_FILE).write_bytes(b"damaged")
    with pytest.raises(PackageError, match="cannot be read as a packed model"):
        SparseModel.from_pretrained(package)
    assert SparseModel.from_pretrained(package, output_hidden_states=False).config.model_type == "bert"


def test_transformers_itself_does_not_take_a_packed_model_for_weights(tmp_path: Path) -> None:
    SparseModel.from_model(pruned(MODELS["bert without a head"](), 0.8)).save_pretrained(tmp_path)
    with pytest.raises(OSError, match="no file named"):
        AutoModel.from_pretrained(tmp_path)


def test_a_folder_with_another_model_is_left_as_it_is(written: Path, tmp_path: Path) -> None:
    sparse = SparseModel.from_model(pruned(MODELS["bert without a head"](), 0.8))
    package = Path(shutil.copytree(written, tmp_path / "package"))
    for folder, message in ((package, "has the weights of a model"), (package / "onnx", "another format")):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        with pytest.raises(PackageError, match=message):
            sparse.save_pretrained(folder)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (tmp_path / "file").write_text("a file")
    with pytest.raises(PackageError, match="cannot be written"):
        sparse.save_pretrained(tmp_path / "file")


def test_a_packed_model_is_replaced_and_what_lies_beside_it_stays(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    for model in (MODELS["bert without a head"](), MODELS["roberta that answers questions"]()):
        SparseModel.from_model(pruned(model, 0.8)).save_pretrained(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {*FILES, "tokenizer.json"}
        assert type(SparseModel.from_pretrained(tmp_path)) is type(model)
    modes = {(tmp_path / name).stat().st_mode for name in FILES}
    assert len(modes) == 1


class OwnClass(BertForSequenceClassification):
    """A class that transformers does not have."""


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    model = pruned(MODELS["bert without a head"](), 0.8)
    with pytest.raises(BackboneError, match="is no sparse model: make one with"):
        SparseModel.save_pretrained(model, tmp_path / "folder")
    own = OwnClass(bert_config())
    with pytest.raises(BackboneError, match="OwnClass is no class of transformers"):
        SparseModel.from_model(own).save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_an_exported_model_runs_on_the_cpu_only(tmp_path: Path) -> None:
    SparseModel.from_model(pruned(MODELS["bert without a head"](), 0.8)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="computes on the CPU, not on cuda"):
        ExportedModel.from_pretrained(tmp_path, device="cuda")


def test_importing_the_package_imports_neither_torch_nor_transformers_for_the_backend() -> None:
    script = (
        "import sys, sparsezoo_hub\n"
        "assert not {'torch', 'transformers', 'sparsezoo_hub.runtime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
