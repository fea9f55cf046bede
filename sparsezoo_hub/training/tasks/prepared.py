"""Prepared tasks: data that a model can be trained and judged on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice, pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.evaluation import Evaluation, evaluated_outcomes
from sparsezoo_hub.training.objectives import IGNORED_LABEL, OBJECTIVES
from sparsezoo_hub.training.tasks.batches import Encoded, Feature, check_tokenizer, padding_collator
from sparsezoo_hub.training.tasks.question_answering import QuestionAnswering
from sparsezoo_hub.training.tasks.shape import Shape
from sparsezoo_hub.training.tasks.task_data import TaskData
from sparsezoo_hub.training.tasks.task_format import QUESTION, TEXT, WORDS, TaskFormat
from sparsezoo_hub.training.tasks.text_classification import TextClassification
from sparsezoo_hub.training.tasks.word_classification import WordClassification

Collator = Callable[[Sequence[Feature]], dict[str, Tensor]]

_SHAPES: Mapping[str, Callable[[TaskFormat, PreTrainedTokenizerBase, int], Shape]] = {
    TEXT: lambda task, tokenizer, length: TextClassification(tokenizer, length, task.labels, task.positive),
    WORDS: lambda task, tokenizer, length: WordClassification(
        tokenizer, length, task.labels, task.has_entities
    ),
    QUESTION: lambda task, tokenizer, length: QuestionAnswering(tokenizer, length, task.no_answer),
}


@dataclass(frozen=True)
class PreparedTask:
    """A task's data, tokenized.

    Args:
        task: with the labels in the order of a head's outputs.
        train: examples to learn from, model inputs without padding.
        collate: from a list of them to a batch; draws no random numbers.
        validation: examples to be judged on.
        shape: tokenizes and judges.
        data: what they come from.
        notices: what a reader of the results should know.
    """

    task: TaskFormat
    train: Sequence[Feature]
    collate: Collator
    validation: Sequence[Feature]
    shape: Shape
    data: TaskData
    encoded: Encoded
    notices: tuple[str, ...] = ()

    @property
    def collate_validation(self) -> Collator:
        """The collator of the validation set."""
        return self.collate

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label, in the order of a head's outputs."""
        return self.task.labels

    def evaluate(self, model: nn.Module, batch_size: int = 64) -> Evaluation:
        """Return loss, accuracy and the task's metrics over the whole validation set."""
        found = judge(model, self.task, self.shape, self.encoded, self.collate, self.data.parts, batch_size)
        return replace(found, notices=self.notices)

    def evaluate_test(self, model: nn.Module, batch_size: int = 64) -> Evaluation:
        """Return the same over the test set, which is tokenized for this; look once, when all is decided.

        Raises:
            CorpusError: if there is no test set, or a metric is undefined on it.
        """
        if not self.data.test:
            raise CorpusError(f"task {self.task.name} has no test set here: add a test file to its folder")
        self.shape.check_defined(self.data.test, "test")
        encoded = self.shape.encode(self.data.test)
        found = judge(model, self.task, self.shape, encoded, self.collate, {}, batch_size)
        return replace(found, notices=(*self.data.notices, *(f"test: {each}" for each in encoded.notices)))


def prepare_task(
    task: TaskFormat,
    data: TaskData,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    labels: Sequence[str] | None = None,
    training: bool = True,
) -> PreparedTask:
    """Return a task's data, tokenized for a model.

    Args:
        task: that the data was loaded for.
        data: checked examples; its own ``task`` says which labels they have.
        tokenizer: the model's, a fast one.
        max_length: tokens of an example at most. Longer texts are cut, longer sentences and contexts go on
            in further windows.
        labels: the data's labels in another order, that of a trained model's head, which may have more.
        training: whether training examples are needed; without, ``train`` is empty.

    Raises:
        BackboneError: if the tokenizer gives no offsets or lacks special tokens.
        CorpusError: if a side is empty, a metric is undefined on the validation set, or an example does not
            fit into a model's input.
        ValueError: if the data is another task's, or ``labels`` lack one of the data's.
    """
    if data.task.name != task.name:
        raise ValueError(f"the data is that of task {data.task.name!r}, not of {task.name!r}")
    check_tokenizer(tokenizer)
    effective = data.task
    if labels is not None:
        missing = [label for label in effective.labels if label not in labels]
        if missing:
            raise ValueError(f"label {missing[0]!r} of task {task.name} is none of {', '.join(labels)}")
        effective = replace(effective, labels=tuple(labels))
    shape = _SHAPES[effective.kind](effective, tokenizer, max_length)
    for side, examples in (
        ("training", data.train if training else (None,)),
        ("validation", data.validation),
    ):
        if not examples:
            raise CorpusError(
                f"task {task.name} has no {side} examples: add its {side} file to the data folder"
            )
    shape.check_defined(data.validation, "validation")
    validation = shape.encode(data.validation)
    train = shape.encode(data.train if training else ())
    collate = padding_collator(tokenizer)
    notices = [f"validation: {each}" for each in validation.notices]
    notices += [f"train: {each}" for each in train.notices]
    return PreparedTask(
        effective,
        train.features,
        collate,
        validation.features,
        shape,
        data,
        validation,
        (*data.notices, *notices),
    )


def judge(
    model: nn.Module,
    task: TaskFormat,
    shape: Shape,
    encoded: Encoded,
    collate: Collator,
    parts: Mapping[str, int],
    batch_size: int,
) -> Evaluation:
    """Return loss, accuracy and metrics of a model over a tokenized split.

    Args:
        model: left in the mode that it came in.
        task: which names its main metric.
        shape: of the task.
        encoded: the split.
        collate: of its features.
        parts: number of examples of each part, in order, whose metrics are also given apart.
        batch_size: examples at once; the result does not depend on it.
    """
    order = sorted(range(len(encoded.features)), key=lambda row: -len(encoded.features[row]["input_ids"]))
    features = [encoded.features[row] for row in order]  # alike in length, so that little is padded
    heads: list[list[np.ndarray[Any, Any]]] = []
    totals = torch.zeros(3, dtype=torch.float64)  # loss, right ones, positions; weighted over the heads
    count = 0
    for outcome in evaluated_outcomes(model, OBJECTIVES[task.kind], features, collate, batch_size):
        heads = heads or [[] for _ in outcome.predictions]
        for head, each in zip(heads, outcome.predictions, strict=True):
            logits = each.logits.float()
            losses = F.cross_entropy(logits, each.labels, reduction="sum")
            right = (logits.argmax(dim=-1) == each.labels).sum()
            totals += each.weight * torch.tensor([float(losses), float(right), len(each.labels)])
            head.extend(logits.cpu().numpy())
        count += len(outcome.predictions[0].labels)
    outcomes = shape.outcomes(encoded, [_in_order(head, features, order) for head in heads])
    metrics = shape.metrics(outcomes)
    for name, (start, end) in zip(parts, pairwise(accumulate(parts.values(), initial=0)), strict=True):
        for metric, value in shape.metrics(outcomes[start:end]).items():
            metrics[f"{metric}_{name}"] = value
    loss, accuracy = float(totals[0] / totals[2]), float(totals[1] / totals[2])
    return Evaluation(loss, accuracy, count, metrics, task.metric)


def _in_order(rows: Sequence[Any], features: Sequence[Feature], order: Sequence[int]) -> list[Any]:
    """Return what was predicted for features, one row or one to each of their words, in their first order."""
    left = iter(rows)
    of_feature = {
        row: list(islice(left, _num_rows(feature))) for row, feature in zip(order, features, strict=True)
    }
    return [each for row in range(len(order)) for each in of_feature[row]]


def _num_rows(feature: Feature) -> int:
    labels = feature.get("labels")
    return int((labels != IGNORED_LABEL).sum()) if isinstance(labels, np.ndarray) else 1
