"""Real data, where ``SPARSEZOO_DATA`` names a folder with one folder of files to a data set."""

import os
from pathlib import Path

import numpy as np
import pytest

from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.tasks import PreparedTask, find_task, prepare_task
from sparsezoo_hub.training.wordpiece import train_wordpiece

DATA = Path(os.environ.get("SPARSEZOO_DATA", "/nonexistent"))
# Folder, task, and the validation set's rows as the papers count them.
SETS = [
    ("sst2", "sst2", 872),
    ("qnli", "qnli", 5463),
    ("mnli_sample", "mnli", 2000),
    ("pubmed_qa", "pubmedqa", 50),
    ("bc5cdr_chem", "bc5cdr-chem", 4581),
    ("jnlpba", "jnlpba", 1739),
    ("squad_v1", "squad-v1", 10570),
]


def of_gold_labels(prepared: PreparedTask) -> dict[str, float]:
    """The metrics of a model whose logits are the labels."""
    features = prepared.validation
    if prepared.task.kind == "question_answering":
        heads = [
            [np.eye(1, len(each["input_ids"]), each[name])[0] for each in features]
            for name in ("start_positions", "end_positions")
        ]
    else:
        classes = np.eye(len(prepared.labels))
        heads = [
            [classes[label] for each in features for label in np.atleast_1d(each["labels"]) if label >= 0]
        ]
    return prepared.shape.metrics(prepared.shape.outcomes(prepared.encoded, heads))


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "name", "rows"), SETS)
def test_right_labels_give_full_marks_on_every_row(folder: str, name: str, rows: int) -> None:
    if not (DATA / folder).is_dir():
        pytest.skip("SPARSEZOO_DATA names no folder with this data set")
    task = find_task(name)
    data = task.load(DATA / folder)
    assert len(data.validation) == rows
    texts = [
        getattr(each, "context", None) or getattr(each, "text", None) or " ".join(each.tokens)
        for each in data.validation[::5]
    ]
    tokenizer = train_wordpiece([Document("", text) for text in texts], 4000)
    prepared = prepare_task(task, data, tokenizer, 384, training=False)
    found = of_gold_labels(prepared)
    if task.kind == "question_answering":
        # Some answers are longer than 30 tokens, or a part of a word.
        assert 0.98 < found["exact_match"] < found["f1"] < 1
    else:
        assert found == dict.fromkeys(found, 1.0)
