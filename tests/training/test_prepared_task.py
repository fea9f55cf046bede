import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from task_case import word_tokenizer, write_jsonl, write_task
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedModel,
)

from sparsezoo_hub.errors import BackboneError, CorpusError
from sparsezoo_hub.training.model_evaluation import evaluate_task
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.tasks import PreparedTask, TaskData, find_task, prepare_task
from sparsezoo_hub.training.tasks.task_data import Question, TaggedWords
from sparsezoo_hub.training.trainer import task_loss

TOKENIZER = word_tokenizer()
MODELS = {
    "sequence_classification": BertForSequenceClassification,
    "token_classification": BertForTokenClassification,
    "question_answering": BertForQuestionAnswering,
}
NAMES = ("sst2", "mnli", "chemprot", "conll2003", "squad-v1", "squad-v2", "token-classification")


def prepared_task(name: str, folder: Path, max_length: int = 32) -> PreparedTask:
    task = find_task(name)
    return prepare_task(task, task.load(write_task(folder, name, train=96)), TOKENIZER, max_length)


def small_model(prepared: PreparedTask) -> PreTrainedModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        id2label=dict(enumerate(prepared.labels or ("start", "end"))),
        label2id={label: index for index, label in enumerate(prepared.labels or ("start", "end"))},
    )
    return MODELS[prepared.task.kind](config).eval()


def train(model: PreTrainedModel, prepared: PreparedTask, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(prepared.train), (32,), generator=generator).tolist()
        batch = prepared.collate([prepared.train[row] for row in rows])
        task_loss(OBJECTIVES[prepared.task.kind].predict(model, batch)).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", ["sst2", "chemprot", "conll2003", "squad-v1"])
def test_a_model_learns_the_tiny_tasks(name: str, tmp_path: Path) -> None:
    prepared = prepared_task(name, tmp_path)
    model = small_model(prepared)
    before = prepared.evaluate(model)
    train(model, prepared, steps=60)
    after = prepared.evaluate(model)
    assert after.metric == find_task(name).metric
    assert after.loss < before.loss
    assert after.score > max(0.9, before.score)
    if prepared.data.test:
        assert prepared.evaluate_test(model).score > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_the_evaluation_does_not_depend_on_the_batch_size(name: str, tmp_path: Path) -> None:
    prepared = prepared_task(name, tmp_path)
    model = small_model(prepared)
    one, other = (prepared.evaluate(model, batch_size) for batch_size in (1, 64))
    assert one.loss == pytest.approx(other.loss, rel=1e-4)
    assert (one.accuracy, one.num_predictions) == (other.accuracy, other.num_predictions)
    assert one.metrics == pytest.approx(other.metrics)


def test_the_numbers_are_those_of_one_pass_over_all_texts(tmp_path: Path) -> None:
    prepared = prepared_task("qqp", tmp_path)
    model = small_model(prepared)
    examples = prepared.data.validation
    inputs = TOKENIZER(
        [each.text for each in examples],
        [each.text_pair for each in examples],
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = model(**inputs).logits
    labels = torch.tensor([prepared.labels.index(each.label) for each in examples])
    right, positive = logits.argmax(-1) == labels, logits.argmax(-1) == 1
    found = prepared.evaluate(model)
    assert found.loss == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-5)
    assert found.accuracy == found.metrics["accuracy"] == int(right.sum()) / len(examples)
    hits = int((right & positive).sum())
    assert found.metrics["f1"] == pytest.approx(2 * hits / (int(positive.sum()) + int((labels == 1).sum())))
    assert found.num_predictions == len(examples) == 24


def test_the_loss_of_question_answering_is_the_mean_of_both_ends(tmp_path: Path) -> None:
    prepared = prepared_task("squad-v1", tmp_path)
    model = small_model(prepared)
    batch = prepared.collate_validation(prepared.validation)
    with torch.no_grad():
        expected = task_loss(OBJECTIVES["question_answering"].predict(model, batch))
    assert prepared.evaluate(model).loss == pytest.approx(float(expected), rel=1e-4)


def test_parts_of_the_validation_set_are_also_reported_apart(tmp_path: Path) -> None:
    prepared = prepared_task("mnli", tmp_path)
    found = prepared.evaluate(small_model(prepared)).metrics
    assert set(found) == {"accuracy", "accuracy_matched", "accuracy_mismatched"}
    assert found["accuracy"] == pytest.approx((found["accuracy_matched"] + found["accuracy_mismatched"]) / 2)
    alone = replace(prepared.data, validation=prepared.data.validation[12:], parts={})
    mismatched = prepare_task(find_task("mnli"), alone, TOKENIZER, 32)
    assert mismatched.evaluate(small_model(prepared)).accuracy == found["accuracy_mismatched"]


def test_evaluation_leaves_the_mode_and_the_random_numbers_alone(tmp_path: Path) -> None:
    prepared = prepared_task("squad-v2", tmp_path)
    model = small_model(prepared).train()
    state = torch.get_rng_state()
    prepared.evaluate(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_the_order_of_the_labels_may_be_the_models(tmp_path: Path) -> None:
    prepared = prepared_task("chemprot", tmp_path)
    order: Sequence[str] = prepared.labels[::-1]
    other = prepare_task(prepared.task, prepared.data, TOKENIZER, 32, labels=order)
    assert other.labels == order
    for one, two in zip(prepared.validation, other.validation, strict=True):
        assert prepared.labels[one["labels"]] == other.labels[two["labels"]]
    assert other.task.positive == prepared.task.positive


def test_a_test_set_is_needed_to_be_judged_on_it(tmp_path: Path) -> None:
    prepared = prepared_task("sst2", tmp_path)
    with pytest.raises(CorpusError, match="task sst2 has no test set here"):
        prepared.evaluate_test(small_model(prepared))


@pytest.mark.parametrize("name", ["sst2", "conll2003", "squad-v2", "token-classification"])
def test_a_stored_model_is_judged_on_the_users_folder(name: str, tmp_path: Path) -> None:
    prepared = prepared_task(name, tmp_path / "data")
    model = small_model(prepared)
    model.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    (tmp_path / "data" / name / "train.jsonl").unlink()
    found = evaluate_task(tmp_path / "model", name, 32, tmp_path / "data")
    expected = prepared.evaluate(model)
    assert found.metrics == pytest.approx(expected.metrics)
    assert found.loss == pytest.approx(expected.loss)
    # Without a length it is the task's, or what the model takes.
    assert evaluate_task(tmp_path / "model", name, None, tmp_path / "data").metrics == pytest.approx(
        expected.metrics
    )


def test_a_model_without_the_tasks_head_is_refused(tmp_path: Path) -> None:
    prepared = prepared_task("sst2", tmp_path / "data")
    small_model(prepared).save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    write_task(tmp_path / "other", "squad-v1")
    with pytest.raises(BackboneError, match=r"no head for question_answering \(qa_outputs.bias is missing\)"):
        evaluate_task(tmp_path / "model", "squad-v1", 32, tmp_path / "other")


def test_notices_come_with_the_evaluation(tmp_path: Path) -> None:
    rows = [{"tokens": ["river"] * 40, "tags": ["I-X", *["O"] * 39]}]
    write_jsonl(tmp_path / "validation.jsonl", rows)
    task = find_task("token-classification")
    prepared = prepare_task(task, task.load(tmp_path), TOKENIZER, 32, training=False)
    notices = prepared.evaluate(small_model(prepared)).notices
    assert [each.split(":")[0] for each in notices] == ["validation", "validation"]
    assert "1 I- tags continue no entity" in notices[0]
    assert "1 sentences became 2 windows; no word was cut" in notices[1]


def test_metrics_can_be_written_as_json(tmp_path: Path) -> None:
    prepared = prepared_task("conll2003", tmp_path)
    found = prepared.evaluate(small_model(prepared))
    assert json.loads(json.dumps(found.metrics)) == found.metrics
    assert isinstance(prepared.data, TaskData)


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_judged_by_its_own_prediction(name: str, tmp_path: Path) -> None:
    """The longest go into the model first; here they also stand first, so that nothing is moved."""
    task, folder = find_task(name), write_task(tmp_path, name, train=96)
    data = task.load(folder)
    data = replace(data, parts={}, validation=tuple(map(lengthened, data.validation, count())))
    prepared = prepare_task(task, data, TOKENIZER, 64)
    model = small_model(prepared)
    train(model, prepared, steps=12)
    lengths = [len(feature["input_ids"]) for feature in prepared.encoded.features]
    assert len(lengths) == len(data.validation)
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    assert order != sorted(order)
    data = replace(data, validation=tuple(data.validation[row] for row in order))
    longest_first = prepare_task(task, data, TOKENIZER, 64, labels=prepared.labels).evaluate(model)
    assert prepared.evaluate(model).metrics == pytest.approx(longest_first.metrics)
    assert longest_first.score > 0


def lengthened(example: Any, row: int) -> Any:
    """Return an example with none to four more words, which change nothing about its label."""
    words = ["or"] * (row % 5)
    if isinstance(example, TaggedWords):
        return replace(example, tokens=(*example.tokens, *words), tags=(*example.tags, *["O"] * len(words)))
    field = "context" if isinstance(example, Question) else "text"
    return replace(example, **{field: " ".join([getattr(example, field), *words])})
