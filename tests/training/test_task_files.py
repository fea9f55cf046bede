import csv
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
from task_case import write_jsonl, write_task

from sparsezoo_hub.training.labelled_text import LabelledText
from sparsezoo_hub.training.tasks import find_task
from sparsezoo_hub.training.tasks.task_data import Question, TaggedWords

OWN = find_task("text-classification")
ROWS = [
    {"text": 'fine, "quoted"\nand more', "label": "good"},
    {"text": "None", "label": "bad"},  # a word that pandas would take for a missing value
    {"text": "café", "label": "good"},
]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    ending = path.name.removesuffix(".gz").rpartition(".")[2]
    plain = path.with_name(path.name.removesuffix(".gz"))
    if ending == "parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif ending == "csv":
        with plain.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif ending == "json":
        plain.write_text(json.dumps(rows), encoding="utf-8")
    else:
        write_jsonl(plain, rows)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet", "jsonl.gz", "json.gz", "csv.gz"])
def test_every_format_gives_the_same_examples(ending: str, tmp_path: Path) -> None:
    _write(tmp_path / f"train.{ending}", ROWS)
    _write(tmp_path / f"validation.{ending}", ROWS[:1])
    data = OWN.load(tmp_path)
    assert data.labels == ("bad", "good")
    assert data.train == tuple(LabelledText(row["text"], row["label"]) for row in ROWS)
    assert data.validation == data.train[:1]


def test_reading_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, temporary = tmp_path / "cache", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = write_task(tmp_path / "data", "sst2")
    before = sorted(folder.rglob("*"))
    find_task("sst2").load(folder)
    assert not cache.exists()
    assert list(temporary.iterdir()) == []
    assert sorted(folder.rglob("*")) == before


def test_a_split_may_lie_in_several_files_which_are_read_in_order(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train-00001-of-00002.jsonl", ROWS[2:])
    write_jsonl(tmp_path / "train-00000-of-00002.jsonl", ROWS[:2])
    write_jsonl(tmp_path / "validation_small.jsonl", ROWS)
    write_jsonl(tmp_path / "trainer.jsonl", [{"text": "no split's", "label": "x"}])
    data = OWN.load(tmp_path)
    assert [each.text for each in data.train] == [row["text"] for row in ROWS]
    assert data.labels == ("bad", "good")


def test_a_users_fields_labels_and_metric_come_from_the_folder(tmp_path: Path) -> None:
    row = {"review": {"body": ["one", "two"]}, "stars": 1}
    write_jsonl(tmp_path / "validation.jsonl", [row, {**row, "stars": 0}])
    (tmp_path / "task.yaml").write_text(
        "fields: {text: review.body, label: stars}\nlabels: [no, yes]\npositive: [yes]\nmetric: f1\n"
    )
    data = OWN.load(tmp_path)
    assert data.labels == ("no", "yes")  # strings, which YAML 1.1 would take for booleans
    assert (data.task.positive, data.task.metric) == (("yes",), "f1")
    assert data.validation == (LabelledText("one two", "yes"), LabelledText("one two", "no"))
    assert data.train == data.test == ()


def test_labels_of_a_users_task_are_found_in_the_data(tmp_path: Path) -> None:
    rows = [{"text": "x", "label": label} for label in (10, 2, 2, 0)]
    write_jsonl(tmp_path / "validation.jsonl", rows)
    assert OWN.load(tmp_path).labels == ("0", "2", "10")
    words = {"tokens": ["a", "b", "c", "d"], "tags": ["I-Z", "B-Z", "O", "B-A"]}
    write_jsonl(tmp_path / "validation.jsonl", [words])
    assert find_task("token-classification").load(tmp_path).labels == ("O", "B-A", "B-Z", "I-Z")


def test_names_of_integers_come_from_the_file_itself(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["I-Disease", "O", "B-Disease"])),
        }
    )
    rows = {"tokens": [["the", "big", "flu"]], "ner_tags": [[1, 2, 0]]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "validation.parquet")
    data = find_task("ncbi-disease").load(tmp_path)
    assert data.validation == (TaggedWords(("the", "big", "flu"), ("O", "B-Disease", "I-Disease")),)
    assert data.labels == ("O", "B-Disease", "I-Disease")  # the task's order


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("bc2gm", ["B", "I", "O"], ("B-GENE", "I-GENE", "O")),
        ("jnlpba", ["B-DNA", "I-DNA", "B-RNA"], ("B", "I", "B")),
        ("bc2gm", [1, 2, 0], ("B-GENE", "I-GENE", "O")),
    ],
)
def test_tags_of_one_type_fit_with_and_without_it(
    name: str, tags: list[Any], expected: tuple[str, ...], tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [{"tokens": ["a", "b", "c"], "ner_tags": tags}])
    assert find_task(name).load(tmp_path).validation[0].tags == expected


def test_digits_in_a_string_count_as_an_integer_where_they_are_no_label(tmp_path: Path) -> None:
    rows = [{"sentence": "x", "label": label} for label in ("0", "CPR:3", "false", 5)]
    for index, row in enumerate(rows):
        write_jsonl(tmp_path / f"validation-{index}.jsonl", [row])
    labels = [each.label for each in find_task("chemprot").load(tmp_path).validation]
    assert labels == ["false", "CPR:3", "false", "CPR:9"]
    write_jsonl(tmp_path / "validation.jsonl", [{"sentence": "x", "label": "1"}])
    assert find_task("gad").load(write_task(tmp_path / "gad", "gad")).labels == ("0", "1")


def test_stray_i_tags_are_read_leniently_and_reported(tmp_path: Path) -> None:
    row = {"tokens": ["a", "b"], "ner_tags": ["O", "I-GENE"]}
    write_jsonl(tmp_path / "validation.jsonl", [row, row])
    [notice] = find_task("bc2gm").load(tmp_path).notices
    assert notice.startswith("validation: 2 I- tags continue no entity")


def test_answers_may_be_lists_or_objects_and_no_answer_is_a_choice_only_if_some_have_none(
    tmp_path: Path,
) -> None:
    task = find_task("question-answering")
    one = {"question": "q", "context": "a b", "answers": {"text": ["b"], "answer_start": [2]}}
    other = {"question": "q", "context": "a b", "answers": [{"text": "a", "answer_start": 0}]}
    write_jsonl(tmp_path / "validation-1.jsonl", [one])
    write_jsonl(tmp_path / "validation-2.jsonl", [other])
    data = task.load(tmp_path)
    assert data.validation[1] == Question("1", "q", "a b", ("a",), (0,))
    assert not data.task.no_answer
    empty = {"question": "q", "context": "a b", "answers": {"text": [], "answer_start": []}}
    write_jsonl(tmp_path / "validation-3.jsonl", [one, empty])
    assert task.load(tmp_path).task.no_answer


def test_a_test_set_that_stands_in_for_validation_is_no_test_set(tmp_path: Path) -> None:
    folder = write_task(tmp_path, "imdb") / "imdb"
    shutil.copy(folder / "validation.jsonl", folder / "test.jsonl")
    (folder / "validation.jsonl").unlink()
    data = find_task("imdb").load(folder)
    assert len(data.validation) == 24
    assert data.test == ()
    find_task("imdb").check(folder)


def test_mnli_takes_one_validation_file_too(tmp_path: Path) -> None:
    row = {"premise": "a", "hypothesis": "b", "label": 1}
    write_jsonl(tmp_path / "validation.jsonl", [row])
    data = find_task("mnli").load(tmp_path)
    assert (len(data.validation), data.parts) == (1, {})
    assert data.validation[0] == LabelledText("a", "neutral", text_pair="b")
