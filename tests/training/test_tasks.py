from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
from task_case import write_task

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.documentation_parts import split_parts
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.tasks import TASKS, find_task
from sparsezoo_hub.training.tasks.task_format import FIELDS, METRICS, QUESTION, WORDS

DOCUMENTATION = "python-documentation-parts"
# The tasks of the papers: Prune Once for All, oBERTa, Sparse*BERT (its table 1 has eleven, one is SQuAD).
PAPERS = {
    "squad-v1", "squad-v2", "mnli", "qqp", "qnli", "sst2", "imdb", "conll2003", "bc5cdr-chem",
    "bc5cdr-disease", "ncbi-disease", "bc2gm", "jnlpba", "chemprot", "ddi", "gad", "pubmedqa", "bioasq",
}  # fmt: skip


def test_the_tasks_are_those_of_the_papers_and_a_users_own() -> None:
    own = {"text-classification", "token-classification", "question-answering"}
    assert set(TASKS) == PAPERS | own | {DOCUMENTATION}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_consistent(name: str) -> None:
    task = find_task(name)
    assert task.name == name
    assert task.kind in OBJECTIVES
    assert task.metric in METRICS[task.kind]
    assert set(task.fields) <= set(FIELDS[task.kind])
    assert set(task.positive) <= set(task.labels)
    assert len(set(task.labels)) == len(task.labels)
    assert (task.kind == QUESTION) <= (not task.labels)
    assert task.metric != "f1" or task.kind != "sequence_classification" or task.positive


@pytest.mark.parametrize("name", sorted(set(TASKS) - {DOCUMENTATION}))
def test_every_task_reads_files_in_its_own_shape(name: str, tmp_path: Path) -> None:
    task = find_task(name)
    folder = write_task(tmp_path, name, train=20, validation=18, test=9)
    task.check(folder)
    data = task.load(folder)
    assert (len(data.train), len(data.validation)) == (20, 18)
    assert len(data.test) == (0 if task.test is None else 9)
    assert data.parts == ({"matched": 9, "mismatched": 9} if name == "mnli" else {})
    if task.labels:
        assert data.labels == task.labels
    if task.kind == WORDS:
        assert {tag for each in data.train for tag in each.tags} == set(data.labels)
    elif task.kind != QUESTION:
        assert {each.label for each in data.train} == set(data.labels)
    assert data.notices == ()


def test_the_documentation_is_a_task_on_every_machine() -> None:
    task = find_task(DOCUMENTATION)
    split = split_parts(python_documentation())
    data = task.load()
    assert (data.labels, data.train, data.validation) == (split.labels, split.train, split.validation)
    assert Counter(each.label for each in data.train).keys() == set(task.labels)
    task.check()


@pytest.mark.parametrize("name", ["chemprot", "ddi", "gad", "bioasq", "text-classification"])
def test_a_task_that_is_on_no_hub_asks_for_files(name: str) -> None:
    for ask in (find_task(name).load, find_task(name).check):
        with pytest.raises(CorpusError, match=f"task {name} is on no Hub in this shape: .*--data FOLDER"):
            ask()


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'squad_v1'.*did you mean 'squad-v1'"):
        find_task("squad_v1")


# A stand-in for the network: that the Hub's data sets look like this is from their documentation.
def test_without_a_folder_the_splits_come_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stand_in(repository: str, configuration: str | None, **options: Any) -> datasets.Dataset:
        asked.append((repository, configuration, options))
        features = datasets.Features(
            {
                "premise": datasets.Value("string"),
                "hypothesis": datasets.Value("string"),
                "label": datasets.ClassLabel(names=["entailment", "neutral", "contradiction"]),
            }
        )
        rows = {"premise": ["one", "two"], "hypothesis": ["1", "2"], "label": [2, 0]}
        return datasets.Dataset.from_dict(rows, features=features)

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    data = find_task("mnli").load()
    assert [options["split"] for _, _, options in asked] == [
        "train",
        "validation_matched",
        "validation_mismatched",
    ]
    assert {(repository, configuration) for repository, configuration, _ in asked} == {
        ("nyu-mll/glue", "mnli")
    }
    assert [each.label for each in data.train] == ["contradiction", "entailment"]
    assert data.parts == {"matched": 2, "mismatched": 2}
    assert data.test == ()


def test_a_hub_that_cannot_be_reached_is_reported_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> datasets.Dataset:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(CorpusError, match=r"rajpurkar/squad on the Hub, split train: .*no route.*--data"):
        find_task("squad-v1").load()
