"""Packages of models with every head that the recipes train: what ONNX gives, what the card says."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard
from packaging_case import RECIPE, dense_model, locked_model, tiny_contents, wordpiece_tokenizer

from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.manifest import Manifest, Measurements, TaskResult
from sparsezoo_hub.packaging.onnx_export import check_onnx, tokenized_batches
from sparsezoo_hub.packaging.package import write_package
from sparsezoo_hub.packaging.verify import require_verified

PAIR = ("Who read the letter?", "She read the letter twice, put it back, and went out.")
BATCH, LENGTH = "batch", "length"
Headed = Callable[[str, str, str], tuple[Path, Manifest]]


def trained_for(objective: str) -> Recipe:
    return parse_recipe(RECIPE.replace("kind: masked_lm}", f"kind: {objective}}}"), "recipe.yaml")


def result(task: str, metric: str, mean: float) -> TaskResult:
    return TaskResult(task=task, dataset="squad-v1", metric=metric, mean=mean, std=0.01, seeds=(0, 1))


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory) -> Headed:
    """The package of a model that was trained for an objective, written once."""

    @cache
    def write(kind: str, objective: str, pipeline: str) -> tuple[Path, Manifest]:
        contents = replace(
            tiny_contents(),
            model=locked_model(kind),
            tokenizer=wordpiece_tokenizer(segments=kind.startswith("bert")),
            recipe=trained_for(objective),
            measurements=Measurements(
                results=(result(pipeline, "f1", 0.875), result(pipeline, "exact_match", 0.75))
            ),
        )
        folder = tmp_path_factory.mktemp("headed") / "package"
        return folder, write_package(folder, contents)

    return write


@pytest.mark.parametrize(
    ("kind", "objective", "outputs", "pipeline", "auto_class"),
    [
        (
            "bert-pretraining",
            "masked_lm_next_sentence",
            {"prediction_logits": [BATCH, LENGTH, 120], "seq_relationship_logits": [BATCH, 2]},
            "fill-mask",
            "AutoModelForPreTraining",
        ),
        (
            "bert-answerer",
            "question_answering",
            {"start_logits": [BATCH, LENGTH], "end_logits": [BATCH, LENGTH]},
            "question-answering",
            "AutoModelForQuestionAnswering",
        ),
        (
            "distilbert-answerer",
            "question_answering",
            {"start_logits": [BATCH, LENGTH], "end_logits": [BATCH, LENGTH]},
            "question-answering",
            "AutoModelForQuestionAnswering",
        ),
        (
            "roberta-tagger",
            "token_classification",
            {"logits": [BATCH, LENGTH, 5]},
            "token-classification",
            "AutoModelForTokenClassification",
        ),
    ],
)
def test_a_package_of_each_head_is_verified_and_says_what_it_is(
    headed: Headed,
    kind: str,
    objective: str,
    outputs: dict[str, list[object]],
    pipeline: str,
    auto_class: str,
) -> None:
    segments = kind.startswith("bert")
    tokenizer = wordpiece_tokenizer(segments=segments)
    folder, manifest = headed(kind, objective, pipeline)
    assert require_verified(folder, onnx=True) == manifest

    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    assert {each.name: each.shape for each in session.get_outputs()} == outputs
    names = [each.name for each in session.get_inputs()]
    assert ("token_type_ids" in names) == segments
    inputs = tokenizer(*PAIR, return_tensors="pt")
    assert bool(segments) == bool(inputs.get("token_type_ids", torch.zeros(1)).any())
    with torch.no_grad():
        expected = locked_model(kind).eval()(**inputs)
    for name, found in zip(
        outputs, session.run(list(outputs), {each: inputs[each].numpy() for each in names}), strict=True
    ):
        np.testing.assert_allclose(found, expected[name], atol=1e-4)

    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == pipeline
    assert f'model = {auto_class}.from_pretrained("local/tiny-90")' in card.text
    assert [(each.metric_type, each.metric_value) for each in card.data.eval_results] == [
        ("f1", 0.875), ("exact_match", 0.75),
    ]  # fmt: skip
    assert card.data.metrics == ["exact_match", "f1"]
    assert (
        f"| {pipeline} | squad-v1 | validation | this model | exact\\_match | 0.75 | 0.01 | 2 |" in card.text
    )
    # What was trained for a task is trained on as that; a language model gets a head.
    further = "AutoModelForSequenceClassification" if kind == "bert-pretraining" else auto_class
    assert f"from transformers import {further}, AutoTokenizer, Trainer" in card.text
    assert ("num_labels=2" in card.text) == (kind == "bert-pretraining")


def test_the_parity_is_measured_on_pairs_too() -> None:
    model = dense_model("bert-answerer")
    batches = tokenized_batches(model, wordpiece_tokenizer(segments=True), ["Rain.", "The cat sat."])
    assert [bool(batch["token_type_ids"].any()) for batch in batches] == [False, False, True, False]


def test_a_second_segment_that_onnx_gets_wrong_is_found(headed: Headed) -> None:
    answerer, _ = headed("bert-answerer", "question_answering", "question-answering")
    model, tokenizer = locked_model("bert-answerer"), wordpiece_tokenizer(segments=True)
    check_onnx(model, tokenizer, PAIR, answerer / "onnx" / "model.onnx")
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight[1, 3] += 1.0
    with pytest.raises(PackageError, match="differs from PyTorch"):
        check_onnx(model, tokenizer, PAIR, answerer / "onnx" / "model.onnx")
