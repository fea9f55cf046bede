"""What optimum makes of our packages. Run by `make test-optimum`, in an environment of its own."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if "OPTIMUM_PACKAGES" not in os.environ:
    pytest.skip("optimum needs an older transformers: make test-optimum", allow_module_level=True)

import onnxruntime
from optimum import onnxruntime as optimum_onnxruntime
from transformers import AutoTokenizer, PreTrainedTokenizerBase, pipeline

FOLDER = Path(os.environ["OPTIMUM_PACKAGES"])
WRITTEN = json.loads((FOLDER / "exports.json").read_text(encoding="utf-8"))
EXPORTS: list[dict[str, Any]] = WRITTEN["exports"]
BATCHES = {
    "texts": WRITTEN["batches"]["texts"],
    "pairs": [tuple(pair) for pair in WRITTEN["batches"]["pairs"]],
}
PUBLISHED: str = WRITTEN["published"]
CLASSIFIER = PUBLISHED.removeprefix("org/")


def loaded(head: str, source: str | Path, **where: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # int8 as it was packaged
    model_class = getattr(optimum_onnxruntime, f"ORTModelFor{head}")
    return model_class.from_pretrained(source, session_options=options, **where)


@cache
def tokenizer_of(package: str) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER / package)


def reference(package: str, batch: str, side: str) -> dict[str, np.ndarray]:
    """The inputs or outputs of PyTorch, or of the int8 model where it was packaged (``int8``), by name."""
    prefix = f"{batch}/{side}/"
    with np.load(FOLDER / f"{package}.npz") as arrays:
        return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def assert_as_packaged(model: Any, package: str, batch: str, tolerance: float, side: str = "outputs") -> None:
    inputs = reference(package, batch, "inputs")
    expected = reference(package, batch, side)
    outputs = model(**inputs)
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        assert values.std() > 0.1  # so that the tolerance means something
        np.testing.assert_allclose(outputs[name], values, atol=tolerance, rtol=0)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("package", sorted({export["package"] for export in EXPORTS}))
def test_the_tokenizer_gives_what_it_gave_when_it_was_packaged(package: str, batch: str) -> None:
    found = tokenizer_of(package)(BATCHES[batch], padding=True, return_tensors="np")
    expected = reference(package, batch, "inputs")
    assert (expected["attention_mask"] == 0).any()
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, name)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: f"{export['package']}-{export['subfolder']}")
def test_optimum_agrees_with_what_was_packaged(export: dict[str, Any], batch: str) -> None:
    where = {"subfolder": export["subfolder"], "file_name": export["file_name"]}
    model = loaded(export["head"], FOLDER / export["package"], **where)
    assert model.path == FOLDER / export["package"] / export["subfolder"] / export["file_name"]
    side = "int8" if export["subfolder"] == "onnx-int8" else "outputs"
    assert_as_packaged(model, export["package"], batch, export["tolerance"], side)


def test_the_subfolder_alone_leads_to_the_model() -> None:
    model = loaded("SequenceClassification", FOLDER / CLASSIFIER, subfolder="onnx")
    assert model.path == FOLDER / CLASSIFIER / "onnx" / "model.onnx"


@pytest.mark.parametrize("batch", BATCHES)
def test_a_published_package_agrees_with_pytorch(batch: str) -> None:
    model = loaded("SequenceClassification", PUBLISHED, subfolder="onnx")
    assert model.path.parent.name == "onnx"
    assert_as_packaged(model, CLASSIFIER, batch, 1e-3)


def test_a_pipeline_says_what_pytorch_says() -> None:
    model = loaded("SequenceClassification", FOLDER / CLASSIFIER, subfolder="onnx")
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer_of(CLASSIFIER))
    odds = np.exp(reference(CLASSIFIER, "texts", "outputs")["logits"])
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    for text, expected in zip(BATCHES["texts"], probabilities, strict=True):
        (found,) = classify(text)
        assert found["label"] == f"LABEL_{expected.argmax()}"
        assert found["score"] == pytest.approx(expected.max(), abs=1e-3)
