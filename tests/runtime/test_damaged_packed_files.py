"""Damaged packed files: all are refused by name, and none makes the kernels crash."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_case import MODELS, bert_config, pruned, ragged
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertForMaskedLM, PreTrainedModel

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.runtime import SparseModel
from sparsezoo_hub.runtime.packed_file import read_packed_file, write_packed_file
from sparsezoo_hub.runtime.packed_model import PACKED_FILE, load_packed, packed_file

KEY = "sparse_engine"
# More in a longer run, as for the other fuzz tests.
NUM_DAMAGED = int(os.environ.get("SPARSEZOO_FUZZ_INPUTS", "40"))
STARTS = torch.tensor([0, 3, 70], dtype=torch.int32)

Change = Callable[[dict[str, Any], dict[str, Tensor]], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed model, which no test may change."""
    folder = tmp_path_factory.mktemp("packed")
    SparseModel.from_model(pruned(BertForMaskedLM(bert_config()), 0.8)).save_pretrained(folder)
    return folder


def content(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[KEY]), load_file(path)


def write(path: Path, header: object, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path, metadata={KEY: json.dumps(header)})
    return path


def renamed(tensors: dict[str, Tensor], old: str, new: str) -> None:
    tensors[new] = tensors.pop(old)


def at_least_one(tensor: Tensor, value: float) -> Tensor:
    changed = tensor.clone()
    changed.view(torch.int16)[0] = value
    return changed


UP = "encoder.0.up"
DAMAGES: dict[str, tuple[Change, str]] = {
    "another version": (lambda h, t: h.update(format=2), "format 2, and format 1 is known here: upgrade"),
    "no version": (lambda h, t: h.pop("format"), "format None"),
    "no shape": (lambda h, t: h.pop("shape"), "metadata, shape: Field required"),
    "a shape that is no number": (
        lambda h, t: h["shape"].update(hidden_size="48"),
        "metadata, shape.hidden_size: Input should be a valid integer, got '48'",
    ),
    "an epsilon that is no number": (
        lambda h, t: h["shape"].update(epsilon=float("nan")),
        "metadata, shape.epsilon: Input should be a finite number",
    ),
    "heads that do not divide": (lambda h, t: h["shape"].update(num_heads=5), "with 5 heads are no encoder"),
    "another activation": (
        lambda h, t: h["shape"].update(activation="tanh"),
        "function is 'tanh', known are",
    ),
    "another dtype of attention": (
        lambda h, t: h["shape"].update(attention="float16"),
        "metadata, shape.attention: Input should be 'float32' or 'bfloat16', got 'float16'",
    ),
    "no dtype of attention": (
        lambda h, t: h["shape"].pop("attention"),
        "metadata, shape.attention: Field required",
    ),
    "a setting more": (lambda h, t: h.update(more=1), "metadata, more: Extra inputs are not permitted"),
    "no layers": (lambda h, t: h.update(layers=[]), "0 layers of hidden size 48"),
    "a layer that is not named": (lambda h, t: h["layers"].pop(), "has tensors of layer 1, attention_bias"),
    "a layer without tensors": (lambda h, t: h["layers"].append(h["layers"][0]), "layer 2, projections: "),
    "a linear layer that is not named": (lambda h, t: h["layers"][0].pop("up"), "layer 0, up: the metadata"),
    "another kind": (
        lambda h, t: h["layers"][0]["up"].update(kind="bits"),
        "layer 0, up: is of the kind 'bits'",
    ),
    "no block": (lambda h, t: h["layers"][0]["up"].pop("block"), "layer 0, up: "),
    "a block of minus one": (lambda h, t: h["layers"][0]["up"].update(block=-1), "layer 0, up: "),
    "a block that no int32 holds": (
        lambda h, t: h["layers"][0]["up"].update(block=2**32 + 96),
        "layer 0, up: ",
    ),
    "a block that is no whole number": (lambda h, t: h["layers"][0]["up"].update(block=0.5), "layer 0, up: "),
    "other inputs": (lambda h, t: h["layers"][0]["up"].update(num_inputs=47), "layer 0, up: "),
    "a tensor of another dtype": (
        lambda h, t: t.update({f"{UP}.values": t[f"{UP}.values"].double()}),
        "layer 0, up: values",
    ),
    "a tensor of another shape": (
        lambda h, t: t.update({f"{UP}.starts": t[f"{UP}.starts"].flatten()}),
        "layer 0, up: starts",
    ),
    "a bias too short": (lambda h, t: t.update({f"{UP}.bias": t[f"{UP}.bias"][:-1]}), "layer 0, up: "),
    "fewer values": (lambda h, t: t.update({f"{UP}.values": t[f"{UP}.values"][:-1]}), "layer 0, up: "),
    "starts that go back": (
        lambda h, t: t[f"{UP}.starts"][0].__setitem__(1, 10**6),
        "layer 0, up: starts",
    ),
    "starts below 0": (lambda h, t: t[f"{UP}.starts"][0].__setitem__(0, -1), "layer 0, up: starts"),
    "an input outside of its block": (
        lambda h, t: t.update({f"{UP}.inputs": at_least_one(t[f"{UP}.inputs"], 96)}),
        "layer 0, up: an input feature lies outside",
    ),
    "an input far outside of its block": (
        lambda h, t: t.update({f"{UP}.inputs": at_least_one(t[f"{UP}.inputs"], -1)}),
        "layer 0, up: an input feature lies outside",
    ),
    "a missing tensor": (lambda h, t: t.pop(f"{UP}.bias"), "missing or unknown: bias"),
    "a tensor too many": (lambda h, t: t.update({f"{UP}.more": torch.zeros(1)}), "missing or unknown: more"),
    "a missing norm": (
        lambda h, t: t.pop("encoder.1.output_gain"),
        "layer 1, output_gain: one tensor is needed",
    ),
    "a norm of another shape": (
        lambda h, t: t.update({"encoder.1.output_gain": torch.ones(49)}),
        "layer 1, output_gain: has (49,) entries",
    ),
    "a norm of another dtype": (
        lambda h, t: t.update({"encoder.1.output_gain": torch.ones(48).half()}),
        "layer 1, output_gain: has (48,) entries of torch.float16",
    ),
    "an embedding of another name": (
        lambda h, t: renamed(t, "bert.embeddings.LayerNorm.bias", "bert.embeddings.LayerNorm.gain"),
        "one tensor must be called bert.embeddings.LayerNorm.bias, got 0",
    ),
    "an embedding of another shape": (
        lambda h, t: t.update({"bert.embeddings.LayerNorm.bias": torch.ones(50)}),
        "bert.embeddings.LayerNorm.bias has (50,) entries",
    ),
    "an embedding of another dtype": (
        lambda h, t: t.update({"bert.embeddings.LayerNorm.bias": torch.ones(48).bfloat16()}),
        "of torch.bfloat16, needs (48,) of torch.float32",
    ),
    "a tensor that no model has": (
        lambda h, t: t.update(more=torch.ones(1)),
        "more is no tensor of the model",
    ),
    "tied tensors that are there twice": (
        lambda h, t: t.update({"cls.predictions.decoder.bias": torch.zeros(90)}),
        "cls.predictions.bias or cls.predictions.decoder.bias, got 2",
    ),
    "another architecture": (
        lambda h, t: h.update(architecture="GPT2Model"),
        "'GPT2Model', which is none of transformers' models of bert, roberta, distilbert",
    ),
    "an architecture that is no model": (
        lambda h, t: h.update(architecture="pipeline"),
        "'pipeline', which is",
    ),
    "an architecture that is nothing": (lambda h, t: h.update(architecture="os"), "'os', which is none"),
    "the architecture of another config": (
        lambda h, t: h.update(architecture="RobertaForMaskedLM"),
        "config.json is of the model type 'bert', sparse_model.safetensors of roberta",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_malformed_file_is_refused_with_its_name_the_layer_and_what_is_wrong(
    damage: str, folder: Path, tmp_path: Path
) -> None:
    change, message = DAMAGES[damage]
    header, tensors = content(folder / PACKED_FILE)
    change(header, tensors)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    path = write(tmp_path / PACKED_FILE, header, tensors)
    with pytest.raises(PackageError) as caught:
        load_packed(path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 96}, "has hidden_size 48, config.json beside it says 96"),
        ({"intermediate_size": 105}, "has intermediate_size 104, config.json beside it says 105"),
        ({"num_hidden_layers": 3}, "has num_layers 2, config.json beside it says 3"),
        ({"num_attention_heads": 6}, "has num_heads 4, config.json beside it says 6"),
        ({"hidden_act": "relu"}, "has activation gelu, config.json beside it says relu"),
        ({"layer_norm_eps": 1e-5}, "has epsilon 1e-12, config.json beside it says 1e-05"),
        ({"hidden_act": "tanh"}, "config.json describes no model"),
        ({"hidden_size": 50}, "config.json describes no model"),
        ({"vocab_size": 91}, "has (90, 48) entries of torch.float32, needs (91, 48)"),
        ({"max_position_embeddings": 2**40}, f"needs ({2**40}, 48)"),
        ({"vocab_size": "many"}, "config.json describes no model"),
        ({"model_type": "roberta"}, "config.json is of the model type 'roberta'"),
        ({"tie_word_embeddings": False}, "one tensor must be called cls.predictions.decoder.weight, got 0"),
    ],
)
def test_a_config_of_another_model_is_refused(
    change: dict[str, object], message: str, folder: Path, tmp_path: Path
) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    (tmp_path / PACKED_FILE).write_bytes((folder / PACKED_FILE).read_bytes())
    with pytest.raises(PackageError) as caught:
        load_packed(tmp_path / PACKED_FILE)
    assert message in str(caught.value)


def in_int8() -> PreTrainedModel:
    model = pruned(BertForMaskedLM(bert_config()), 0.8)
    return SparseModel.from_model(model, calibrate(model, [ragged([9, 30], 0)]))


SPARSE_MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "floats": lambda: SparseModel.from_model(pruned(MODELS["distilbert that labels tokens"](), 0.8)),
    "dense": lambda: SparseModel.from_model(pruned(MODELS["bert without a head"](), 0.3)),
    "int8": in_int8,
    "bfloat16": lambda: SparseModel.from_model(
        pruned(MODELS["bert without a head"](), 0.8), dtype=torch.bfloat16
    ),
}


def flip_bits(path: Path, whole: bytes, generator: random.Random) -> None:
    damaged = bytearray(whole)
    # Every second one in the header, which is small and says how all else is read.
    end = generator.choice((len(whole), 8 + int.from_bytes(whole[:8], "little")))
    for _ in range(generator.choice((1, 1, 3))):
        damaged[generator.randrange(end)] ^= 1 << generator.randrange(8)
    path.write_bytes(damaged)


def edit_fields(path: Path, whole: bytes, generator: random.Random) -> None:
    path.write_bytes(whole)
    header, tensors = content(path)
    number = generator.randrange(len(header["layers"]))
    name = generator.choice(list(header["layers"][number]))
    if generator.random() < 0.5:
        numbers = generator.choice((header["layers"][number][name], header["shape"]))
        field = generator.choice(list(numbers))
        near = numbers[field] + 1 if isinstance(numbers[field], int) else 1
        odd = (0, 1, -1, near, 2**15, 2**31, 2**32 + 96, 10**30, 0.5, 1e308, "", "other", None, [], True)
        numbers[field] = generator.choice(odd)
    else:
        chosen = generator.choice([each for each in tensors if each.startswith(f"encoder.{number}.{name}.")])
        tensors[chosen] = changed(tensors[chosen], generator)
    write(path, header, tensors)


def changed(tensor: Tensor, generator: random.Random) -> Tensor:
    """Another shape, fewer entries, or an extreme value somewhere."""
    flat = tensor.clone().flatten()
    if not len(flat) or generator.random() < 0.2:
        return generator.choice((flat, flat[:-1], tensor[:0], torch.cat([flat, flat])))
    words = flat.view(torch.uint8).view(len(flat), -1)
    bits = generator.choice(([0], [255], [1, 0], [0, 1], [255, 127], [0, 128]))
    words[generator.randrange(len(flat))] = torch.tensor((bits * 8)[-words.shape[1] :], dtype=torch.uint8)
    return flat.view(tensor.shape)


@pytest.mark.parametrize("damage", [flip_bits, edit_fields])
@pytest.mark.parametrize("name", SPARSE_MODELS)
def test_a_damaged_file_is_refused_or_computed_without_a_crash(
    name: str, damage: Callable[[Path, bytes, random.Random], None], tmp_path: Path
) -> None:
    model = SPARSE_MODELS[name]()
    path, hidden = tmp_path / "file", torch.randn(70, model.config.hidden_size)
    write_packed_file(path, packed_file(model))
    whole, generator, refused = path.read_bytes(), random.Random(7), 0  # noqa: S311 - not for secrets
    for _ in range(NUM_DAMAGED):
        damage(path, whole, generator)
        try:
            encoder = read_packed_file(path).encoder
        except PackageError:
            refused += 1
        else:
            assert encoder.encode(hidden, STARTS).shape == hidden.shape
    assert NUM_DAMAGED // 10 < refused < NUM_DAMAGED
