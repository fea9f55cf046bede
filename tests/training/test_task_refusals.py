from pathlib import Path
from typing import Any

import pytest
from task_case import word_tokenizer, write_jsonl, write_task
from transformers import BertTokenizer

from sparsezoo_hub.errors import BackboneError, CorpusError
from sparsezoo_hub.training.tasks import find_task, prepare_task

ANSWERS = {"text": ["b"], "answer_start": [2]}
GOOD: dict[str, dict[str, Any]] = {
    "sst2": {"sentence": "fine", "label": 1},
    "qnli": {"question": "q", "sentence": "s", "label": "entailment"},
    "bc2gm": {"tokens": ["a", "b"], "ner_tags": ["B-GENE", "O"]},
    "token-classification": {"tokens": ["a", "b"], "tags": ["B-X", "O"]},
    "squad-v1": {"id": "x", "question": "q", "context": "a b", "answers": ANSWERS},
}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("sst2", {"label": 2}, "label 2 is outside 0 to 1 (negative, positive)"),
        ("sst2", {"label": -1}, "label -1 is outside 0 to 1 (negative, positive); -1 is how a hidden label"),
        ("sst2", {"label": None}, "a label must be a string or an integer, got None"),
        ("sst2", {"sentence": " "}, "text is empty"),
        ("sst2", {"sentence": None}, "text must be text, got None"),
        ("qnli", {"label": "neutral"}, "label 'neutral' is none of entailment, not_entailment"),
        ("qnli", {"sentence": ""}, "text_pair is empty"),
        ("bc2gm", {"ner_tags": ["O"]}, "has 2 tokens and 1 tags"),
        ("bc2gm", {"ner_tags": ["B-Disease", "O"]}, "label 'B-Disease' is none of O, B-GENE, I-GENE"),
        ("bc2gm", {"tokens": [], "ner_tags": []}, "has no tokens"),
        ("token-classification", {"tags": ["S-X", "O"]}, "tag 'S-X' is not IOB"),
        ("squad-v1", {"context": " "}, "context is empty"),
        ("squad-v1", {"question": ""}, "question is empty"),
        ("squad-v1", {"answers": {"text": [], "answer_start": []}}, "has no answer, which task squad-v1"),
        ("squad-v1", {"answers": {"text": [""], "answer_start": [2]}}, "has an empty answer"),
        (
            "squad-v1",
            {"answers": {"text": ["b"], "answer_start": [1]}},
            "answer 'b' is not in its context at 1",
        ),
        (
            "squad-v1",
            {"answers": {"text": ["b"], "answer_start": [-1]}},
            "answer 'b' is not in its context at -1",
        ),
        (
            "squad-v1",
            {"answers": {"text": ["b"], "answer_start": []}},
            "answers must be an object of two lists",
        ),
    ],
)
def test_a_bad_row_is_named_with_its_file(
    name: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "validation-1.jsonl", [GOOD[name]])
    bad = write_jsonl(tmp_path / "validation-2.jsonl", [GOOD[name], {**GOOD[name], **change}])
    with pytest.raises(CorpusError) as refusal:
        find_task(name).load(tmp_path)
    assert str(refusal.value).startswith(f"{bad}, row 2: {message}")


def test_tags_as_integers_without_names_are_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [{"tokens": ["a"], "tags": [0]}])
    with pytest.raises(CorpusError, match=r"row 1: its tags are integers without names: .*labels\.json"):
        find_task("token-classification").load(tmp_path)
    (tmp_path / "labels.json").write_text('["O", "B-X"]')
    assert find_task("token-classification").load(tmp_path).labels == ("O", "B-X")


def test_lists_cannot_come_from_csv(tmp_path: Path) -> None:
    (tmp_path / "validation.csv").write_text("tokens,tags\na b,O O\n")
    with pytest.raises(CorpusError, match=r"tokens must be a list, got 'a b' \(csv holds no lists"):
        find_task("token-classification").load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b'{"sentence": "x", "label": 1}\n{broken\n', "cannot be read as jsonl"),
        (
            b'{"text_b": "x", "label": 1}\n',
            "has no field 'sentence' for the text of task sst2.*text_b, label",
        ),
    ],
)
def test_a_broken_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "validation.jsonl").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"validation\.jsonl: {message}"):
        find_task("sst2").load(tmp_path)


def test_a_broken_gzip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "validation.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    with pytest.raises(CorpusError, match=r"validation\.jsonl\.gz: cannot be read as jsonl"):
        find_task("sst2").load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "label: [a]",
            "label: Extra inputs are not permitted; its keys are fields, labels, positive, metric",
        ),
        ("fields: {txt: body}", "unknown field of sequence_classification 'txt'.*did you mean 'text'"),
        ("metric: f2", "unknown metric of sequence_classification 'f2'"),
        ("labels: [a, a]", "names a label twice"),
        ("positive: [maybe]", "positive label 'maybe' is none of negative, positive"),
        ("metric: f1", "metric f1 needs to know which labels it counts"),
        ("fields: [", "is not YAML"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: str, message: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [GOOD["sst2"]])
    (tmp_path / "task.yaml").write_text(settings)
    with pytest.raises(CorpusError, match=message):
        find_task("sst2").load(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"a": 1}', '["a", "a"]', "[1]"])
def test_label_names_that_are_no_list_of_names_are_refused(content: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [GOOD["sst2"]])
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(CorpusError, match=r"labels\.json: "):
        find_task("sst2").load(tmp_path)


def test_missing_splits_and_folders_are_named(tmp_path: Path) -> None:
    task = find_task("sst2")
    with pytest.raises(CorpusError, match="nowhere: does not exist"):
        task.load(tmp_path / "nowhere")
    with pytest.raises(
        CorpusError, match=r"has no validation data for task sst2: add a file named validation"
    ):
        task.load(tmp_path)
    write_jsonl(tmp_path / "validation.jsonl", [GOOD["sst2"]])
    with pytest.raises(CorpusError, match=r"has no train data for task sst2"):
        task.check(tmp_path)
    with pytest.raises(CorpusError, match="task sst2 has no training examples"):
        prepare_task(task, task.load(tmp_path), word_tokenizer(), 16)
    with pytest.raises(CorpusError, match="is a file"):
        task.load(tmp_path / "validation.jsonl")


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("bc2gm", {"tokens": ["a"], "ner_tags": ["O"]}, "validation set has no entity, so F1 is undefined"),
        ("gad", {"sentence": "a", "label": 0}, "validation set has no example of 1, so F1 is undefined"),
    ],
)
def test_a_metric_that_is_undefined_is_refused_before_training(
    name: str, row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [row])
    task = find_task(name)
    with pytest.raises(CorpusError, match=message):
        prepare_task(task, task.load(tmp_path), word_tokenizer(), 16, training=False)


def test_a_tokenizer_without_offsets_is_refused(tmp_path: Path) -> None:
    task = find_task("sst2")
    data = task.load(write_task(tmp_path, "sst2"))

    class Slow(BertTokenizer):
        is_fast = False

    slow = Slow(vocab=word_tokenizer().get_vocab())
    with pytest.raises(BackboneError, match="Slow gives no offsets: use a fast tokenizer"):
        prepare_task(task, data, slow, 16)


def test_the_data_of_another_task_and_labels_that_are_missing_are_refused(tmp_path: Path) -> None:
    task = find_task("sst2")
    data = task.load(write_task(tmp_path, "sst2"))
    with pytest.raises(ValueError, match="data is that of task 'sst2', not of 'qqp'"):
        prepare_task(find_task("qqp"), data, word_tokenizer(), 16)
    with pytest.raises(ValueError, match="label 'positive' of task sst2 is none of negative, neutral"):
        prepare_task(task, data, word_tokenizer(), 16, labels=["negative", "neutral"])
