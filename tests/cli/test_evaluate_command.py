import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

Run = Callable[..., tuple[int, str, str]]
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A classifier that says "positive" to everything."""
    folder = tmp_path / "model"
    labels = {"negative": 0, "positive": 1}
    classifier = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            max_position_embeddings=16,
            label2id=labels,
            id2label={index: label for label, index in labels.items()},
        )
    )
    with torch.no_grad():
        classifier.classifier.weight.zero_()
        classifier.classifier.bias.copy_(torch.tensor([0.0, 1.0]))
    classifier.save_pretrained(folder)
    BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"sentence": f"{word} film", "label": label} for word, label in (("good", 1), ("bad", 0))]
    (folder / "validation.jsonl").write_text("\n".join(map(json.dumps, [rows[0], rows[0], rows[0], rows[1]])))
    return folder


def test_a_tasks_metrics_are_printed(run: Run, model: Path, data: Path) -> None:
    code, out, err = run("evaluate", model, "--task", "sst2", "--data", data)
    assert (code, err) == (0, "")
    assert "accuracy 0.7500 over 4 predictions" in out
    assert "accuracy 75.00 % (main)" in out


def test_the_sparse_engine_is_judged_in_the_models_place(run: Run, model: Path, data: Path) -> None:
    code, out, _ = run("evaluate", model, "--task", "sst2", "--data", data, "--form", "sparse", "--json")
    found = json.loads(out)
    assert (code, found["form"], found["accuracy"]) == (0, "sparse", 0.75)
    plain = json.loads(run("evaluate", model, "--task", "sst2", "--data", data, "--json")[1])
    assert found["loss"] == pytest.approx(plain["loss"], rel=1e-5)


def test_json_has_metrics_as_fractions(run: Run, model: Path, data: Path) -> None:
    (data / "task.yaml").write_text("positive: [positive]\nmetric: f1\n")
    code, out, _ = run("evaluate", model, "--task", "sst2", "--data", data, "--max-length", 8, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["task"], found["metric"], found["num_predictions"]) == ("sst2", "f1", 4)
    assert found["metrics"] == {
        "accuracy": 0.75,
        "f1": pytest.approx(6 / 7),  # 3 right of 4 predicted and 3 to be found
        "precision": 0.75,
        "recall": 1.0,
    }
    assert found["notices"] == []


def test_a_bad_row_is_one_line_with_its_place(run: Run, model: Path, data: Path) -> None:
    (data / "validation.jsonl").write_text('{"sentence": "good", "label": 7}')
    code, out, err = run("evaluate", model, "--task", "sst2", "--data", data)
    assert (code, out) == (1, "")
    assert "validation.jsonl, row 1: label 7 is outside 0 to 1" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "."], "--data needs --task"),
        (["--task", "sst2", "--text", "x.txt"], "--text is for masked LM"),
        (["--form", "onnx"], "--form needs --task"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Run, model: Path, arguments: list[str], message: str
) -> None:
    code, _, err = run("evaluate", model, *arguments)
    assert code == 2
    assert message in " ".join(err.split())


def test_onnx_models_are_judged_like_the_model_they_come_from(
    run: Run, model: Path, data: Path, tmp_path: Path
) -> None:
    classifier = BertForSequenceClassification.from_pretrained(model)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for module in classifier.modules():
            if isinstance(module, torch.nn.Linear):  # so large that rounding is seen in the loss
                module.weight.normal_(generator=generator)
    classifier.save_pretrained(model)
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": each}) for each in ("good film", "bad", "a bad, bad film")))
    for folder, options in (("onnx", ()), ("onnx-int8", ("--int8",))):
        assert run("export", model, model / folder, "--text", text, *options)[0] == 0
    arguments = ("evaluate", model, "--task", "sst2", "--data", data, "--json")
    expected, found = json.loads(run(*arguments)[1]), {}
    for form in ("onnx", "onnx-int8"):
        code, out, err = run(*arguments, "--form", form)
        assert (code, err) == (0, "")
        found[form] = json.loads(out)
        assert found[form]["form"] == form
        assert found[form]["num_predictions"] == 4
    assert found["onnx"]["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["onnx"]["metrics"] == expected["metrics"]
    difference = abs(found["onnx-int8"]["loss"] - expected["loss"])
    assert 1e-4 < difference / expected["loss"] < 0.2  # rounded, and nearly the same


def test_a_model_without_the_onnx_form_is_one_line(run: Run, model: Path, data: Path) -> None:
    code, _, err = run("evaluate", model, "--task", "sst2", "--data", data, "--form", "onnx-int8")
    assert code == 1
    assert "has no onnx-int8" in " ".join(err.split())


def test_a_package_with_ranges_says_that_its_float_weights_were_judged(
    run: Run, model: Path, data: Path
) -> None:
    arguments = ("evaluate", model, "--task", "sst2", "--data", data)
    assert "float weights" not in run(*arguments)[1]
    (model / "quantization.safetensors").touch()
    assert (
        "note: these are the float weights; the package also has int8: --form onnx-int8 or sparse"
        in run(*arguments)[1]
    )
