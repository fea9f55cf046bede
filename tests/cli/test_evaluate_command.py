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
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Run, model: Path, arguments: list[str], message: str
) -> None:
    code, _, err = run("evaluate", model, *arguments)
    assert code == 2
    assert message in " ".join(err.split())
