"""Every format: told by itself, its weights and pattern read bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from import_case import (
    OLD_RECIPE,
    bitmask_tensors,
    intel_labs_tensors,
    load_imported,
    sparse_model,
    sparseml_tensors,
    torch_prune_tensors,
    with_compression_settings,
    write_folder,
)
from packaging_case import magnitude_masks
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedModel
from transformers.utils import logging

from sparsezoo_hub.packaging.imports.checkpoint import Checkpoint, read_checkpoint
from sparsezoo_hub.packaging.imports.model_loading import load_decoded
from sparsezoo_hub.packaging.imports.pattern import imported_pattern
from sparsezoo_hub.packaging.imports.sparse_bitmask import decode_sparse_bitmask
from sparsezoo_hub.packaging.imports.torch_prune import decode_torch_prune

Tensors = Callable[[PreTrainedModel], dict[str, Tensor]]

# Format, kind of model, what it stores, the file's name.
CASES: dict[str, tuple[str, str, Tensors, str]] = {
    "intel-labs": ("intel-labs", "bert-mlm", intel_labs_tensors, "pytorch_model.bin"),
    "intel-labs-tokens": ("intel-labs", "roberta-tagger", intel_labs_tensors, "model.safetensors"),
    "torch-prune": ("torch-prune", "distilbert-classifier", torch_prune_tensors, "pytorch_model.bin"),
    "torch-prune-pt": ("torch-prune", "bert-answerer", torch_prune_tensors, "state.pt"),
    "sparse-bitmask": ("sparse-bitmask", "roberta-mlm", bitmask_tensors, "model.safetensors"),
    "sparseml": ("sparseml", "bert-answerer", sparseml_tensors, "pytorch_model.bin"),
    "zeros": ("zeros", "distilbert-mlm", lambda model: dict(model.state_dict()), "model.safetensors"),
}


def assert_same(model: PreTrainedModel, expected: PreTrainedModel) -> None:
    found, wanted = model.state_dict(), expected.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name].view(torch.int32), tensor.view(torch.int32)), name


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_weights_and_masks_are_those_that_were_stored(
    case: tuple[str, str, Tensors, str], tmp_path: Path
) -> None:
    name, kind, tensors, file = case
    expected = sparse_model(kind)
    folder = write_folder(tmp_path / "old", expected, tensors(sparse_model(kind)), file)
    found, model, masks = load_imported(folder)
    assert found == name
    assert_same(model, expected)
    wanted = magnitude_masks(sparse_model(kind))
    assert masks.keys() == wanted.keys()
    assert all(torch.equal(masks[each], wanted[each]) for each in wanted)


@pytest.mark.parametrize(
    "tensors", [intel_labs_tensors, torch_prune_tensors, bitmask_tensors, sparseml_tensors]
)
def test_stock_transformers_makes_weights_up_where_the_import_reads_them(
    tensors: Tensors, tmp_path: Path
) -> None:
    expected = sparse_model("bert-mlm")
    folder = write_folder(tmp_path / "old", expected, tensors(sparse_model("bert-mlm")), "pytorch_model.bin")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        stock = AutoModelForMaskedLM.from_pretrained(folder)  # raises nothing
    finally:
        logging.set_verbosity(verbosity)
    assert int((stock.state_dict()[name] == 0).sum()) < 10
    assert not torch.equal(stock.state_dict()[name], expected.state_dict()[name])
    _, model, _ = load_imported(folder)
    assert torch.equal(model.state_dict()[name], expected.state_dict()[name])


def test_settings_of_compressed_tensors_do_not_stay_in_the_config(tmp_path: Path) -> None:
    expected = sparse_model("roberta-mlm")
    folder = write_folder(
        tmp_path / "old", expected, bitmask_tensors(sparse_model("roberta-mlm")), "model.safetensors"
    )
    name, model, _ = load_imported(with_compression_settings(folder))
    assert name == "sparse-bitmask"
    assert_same(model, expected)
    assert not hasattr(model.config, "quantization_config")


def bitmask_checkpoint(**parts: Tensor) -> Checkpoint:
    tensors = {f"layer.{name}": tensor for name, tensor in parts.items()}
    return Checkpoint(Path("old"), Path("old"), {}, ("model.safetensors",), tensors)


def test_a_bitmask_is_read_lowest_bit_first_row_by_row() -> None:
    decoded = decode_sparse_bitmask(
        bitmask_checkpoint(
            shape=torch.tensor([2, 10]),
            # Row 0: columns 0, 2 and 9. Row 1: column 7.
            bitmask=torch.tensor([[0b00000101, 0b00000010], [0b10000000, 0]], dtype=torch.uint8),
            compressed=torch.tensor([1.5, -2.0, 3.0, 4.0], dtype=torch.bfloat16),
            row_offsets=torch.tensor([0, 3]),
        )
    )
    assert decoded.tensors["layer.weight"].tolist() == [
        [1.5, 0, -2.0, 0, 0, 0, 0, 0, 0, 3.0],
        [0, 0, 0, 0, 0, 0, 0, 4.0, 0, 0],
    ]
    assert decoded.tensors["layer.weight"].dtype == torch.bfloat16


def test_a_bitmask_of_2_in_4_is_read_with_the_zeros_it_stores() -> None:
    decoded = decode_sparse_bitmask(
        bitmask_checkpoint(
            shape=torch.tensor([[1], [8]]),
            bitmask=torch.tensor([[0b10010110]], dtype=torch.uint8),
            compressed=torch.tensor([[5.0, 6.0, 0.0, 8.0]]),
        )
    )
    assert decoded.tensors["layer.weight"].tolist() == [[0, 5.0, 6.0, 0, 0, 0, 0, 8.0]]


def test_early_releases_named_the_parts_of_a_bitmask_after_the_weight(tmp_path: Path) -> None:
    expected = sparse_model("bert-classifier")
    later = bitmask_tensors(sparse_model("bert-classifier"))
    early = {
        name.replace(part, f".weight{part}") if name.endswith(part) else name: tensor
        for part in (".shape", ".bitmask", ".compressed", ".row_offsets")
        for name, tensor in later.items()
        if name.endswith(part) or not name.endswith((".shape", ".bitmask", ".compressed", ".row_offsets"))
    }
    assert_same(
        load_imported(write_folder(tmp_path / "old", expected, early, "model.safetensors"))[1], expected
    )


def test_a_recipe_of_sparseml_tells_its_folder_and_ours_does_not(tmp_path: Path) -> None:
    model = sparse_model("bert-classifier")
    folder = write_folder(tmp_path / "old", model, model.state_dict(), "pytorch_model.bin")
    (folder / "recipe.yaml").write_text("format: 1\nname: other\n")
    assert load_imported(folder)[0] == "zeros"
    (folder / "recipe.yaml").write_text(OLD_RECIPE)
    assert load_imported(folder)[0] == "sparseml"


def test_a_model_of_sparsezoo_has_its_checkpoint_in_training(tmp_path: Path) -> None:
    model = sparse_model("bert-classifier")
    write_folder(tmp_path / "zoo" / "training", model, model.state_dict(), "pytorch_model.bin")
    (tmp_path / "zoo" / "recipe").mkdir()
    (tmp_path / "zoo" / "recipe" / "recipe_original.md").write_text(f"---{OLD_RECIPE}---\n# A recipe\n")
    name, found, _ = load_imported(tmp_path / "zoo")
    assert name == "sparseml"
    assert_same(found, model)


def test_a_student_is_taken_out_from_among_its_teachers(tmp_path: Path) -> None:
    expected = sparse_model("bert-classifier")
    tensors = {f"student.{name}": tensor for name, tensor in expected.state_dict().items()}
    tensors |= {f"teachers.0.teacher.{name}": tensor + 1 for name, tensor in expected.state_dict().items()}
    name, model, _ = load_imported(write_folder(tmp_path / "old", expected, tensors, "pytorch_model.bin"))
    assert name == "intel-labs"
    assert_same(model, expected)


def test_layer_norms_under_their_first_names_and_halves_are_read(tmp_path: Path) -> None:
    expected = sparse_model("bert-mlm").half().float()
    old = {
        f"module.{name}".replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor.half()
        for name, tensor in expected.state_dict().items()
        if name != "cls.predictions.decoder.weight"  # shared with the embeddings
    }
    old["module.bert.embeddings.position_ids"] = torch.arange(64)[None]
    _, model, _ = load_imported(write_folder(tmp_path / "old", expected, old, "pytorch_model.bin"))
    assert model.dtype == torch.float32
    assert_same(model, expected)


def test_weights_that_were_shared_once_and_differ_now_stay_apart(tmp_path: Path) -> None:
    model = sparse_model("bert-mlm")
    tensors = dict(model.state_dict())
    decoder = "cls.predictions.decoder.weight"
    tensors[decoder] = tensors[decoder] + 1
    _, loaded, _ = load_imported(write_folder(tmp_path / "old", model, tensors, "pytorch_model.bin"))
    for name in (decoder, "bert.embeddings.word_embeddings.weight"):
        assert torch.equal(loaded.state_dict()[name], tensors[name])


def test_dense_layers_of_a_pruned_model_stay_dense(tmp_path: Path) -> None:
    expected = sparse_model("bert-classifier")
    tensors = intel_labs_tensors(sparse_model("bert-classifier"))
    name = "bert.encoder.layer.1.output.dense.weight"
    dense = torch.randn(32, 48)
    tensors[f"{name}_original"], tensors[f"{name}_mask"] = dense, torch.ones(32, 48)
    _, model, masks = load_imported(write_folder(tmp_path / "old", expected, tensors, "pytorch_model.bin"))
    assert torch.equal(model.state_dict()[name], dense)
    assert masks.keys() == magnitude_masks(expected).keys() - {name.removeprefix("bert.")}


def test_a_zero_here_and_there_is_no_pattern(tmp_path: Path) -> None:
    model = AutoModel.from_config(sparse_model("bert-mlm").config)
    with torch.no_grad():
        model.encoder.layer[0].output.dense.weight[0, :3] = 0
    _, _, masks = load_imported(
        write_folder(tmp_path / "old", model, model.state_dict(), "model.safetensors")
    )
    assert masks == {}


def test_a_mask_outside_the_linear_weights_is_named_as_not_locked(tmp_path: Path) -> None:
    model = sparse_model("bert-classifier")
    tensors = dict(model.state_dict())
    for name, column in (("bert.embeddings.word_embeddings.weight", 1), ("classifier.weight", 2)):
        tensors[f"{name}_orig"] = tensors.pop(name)
        tensors[f"{name}_mask"] = torch.ones_like(tensors[f"{name}_orig"])
        tensors[f"{name}_mask"][:, column] = 0
    checkpoint = read_checkpoint(write_folder(tmp_path / "old", model, tensors, "model.safetensors"))
    decoded = decode_torch_prune(checkpoint)
    loaded, _ = load_decoded(checkpoint, decoded)
    masks, outside = imported_pattern(loaded, decoded.masks, "old")
    assert sorted(outside) == ["bert.embeddings.word_embeddings.weight", "classifier.weight"]
    assert masks.keys() == magnitude_masks(model).keys()
    assert not loaded.classifier.weight[:, 2].any()
