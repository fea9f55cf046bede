"""Objectives: from a model and a batch to the logits and labels of the positions that count."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from sparsezoo_hub.core.targets import base_model

IGNORED_LABEL = -100
# Far below any logit, so that its exponential is 0; finite at half precision too.
_IMPOSSIBLE = -1e4
# Where the labels of a batch are, found before it goes to its device.
_POSITIONS = "label_positions"
# How the names end of what a batch has for the objective, not for the model.
_TARGETS = ("labels", "label", "start_positions", "end_positions", "answer_mask", _POSITIONS)

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Prediction:
    """What a head says about the positions that count.

    Args:
        logits: (num_positions, num_classes).
        labels: (num_positions,), the class that is right.
        weight: of its loss in the sum over an objective's heads.
    """

    logits: Tensor
    labels: Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a model makes of a batch.

    Args:
        predictions: one for each of the objective's heads.
        output: the model's own output; it has ``hidden_states`` and ``attentions`` if its config asks for
            them.
    """

    predictions: tuple[Prediction, ...]
    output: Any


@dataclass(frozen=True)
class Objective:
    """How a model is loaded for an objective, what it predicts, and the labels in a batch of each head."""

    auto_class: Any
    predict: Callable[[nn.Module, Batch], Outcome]
    labels: tuple[str, ...] = ("labels",)


def with_label_positions(batch: Batch) -> dict[str, Tensor]:
    """Return a batch that is still on the CPU with where its labels per token are, if it has such.

    How many there are decides the size of what is computed with them. A GPU would have to be waited for to
    know it, at every step.

    Args:
        batch: of an objective. ``label_positions`` (num_labels,) is added: indices into ``labels`` (batch,
            length), flat.
    """
    labels = batch.get("labels")
    if labels is None or labels.dim() == 1:
        return dict(batch)
    return {**batch, _POSITIONS: _label_positions(labels)}


def predict_masked_tokens(model: nn.Module, batch: Batch) -> Outcome:
    """Return the vocabulary logits (num_masked, vocab_size) and labels of the masked positions.

    The head runs on the masked positions alone: at 15 % masking that saves most of its cost.

    Args:
        model: a masked language model of transformers, possibly wrapped (DDP).
        batch: ``input_ids``, ``attention_mask`` and ``labels``, each (batch, length); labels are
            ``IGNORED_LABEL`` where nothing is predicted.
    """
    positions = _positions(batch)
    with _head_on(positions, getattr(model, "module", model)):
        output = model(**_inputs(batch))
    return Outcome((Prediction(output.logits, batch["labels"].flatten()[positions]),), output)


def predict_masked_tokens_and_next_sentence(model: nn.Module, batch: Batch) -> Outcome:
    """Return the predictions of BERT's two objectives (Devlin et al., 2019, section 3.1); losses are added.

    Args:
        model: a model of transformers with both heads (``BertForPreTraining``), possibly wrapped.
        batch: as for masked tokens, with ``token_type_ids`` and ``next_sentence_label`` (batch,), 0 where
            the second segment follows the first, 1 where it is a random one.
    """
    positions = _positions(batch)
    with _head_on(positions, getattr(model, "module", model)):
        output = model(**_inputs(batch))
    return Outcome(
        (
            Prediction(output.prediction_logits, batch["labels"].flatten()[positions]),
            Prediction(output.seq_relationship_logits, batch["next_sentence_label"]),
        ),
        output,
    )


def predict_classes(model: nn.Module, batch: Batch) -> Outcome:
    """Return the class logits (batch, num_labels) and labels (batch,)."""
    output = model(**_typed_inputs(model, batch))
    return Outcome((Prediction(output.logits, batch["labels"]),), output)


def predict_tags(model: nn.Module, batch: Batch) -> Outcome:
    """Return the logits (num_words, num_labels) and labels of the tokens that have one.

    Args:
        model: a token classifier of transformers, possibly wrapped.
        batch: with ``labels`` (batch, length), ``IGNORED_LABEL`` at padding, special tokens and all but the
            first piece of a word.
    """
    output = model(**_typed_inputs(model, batch))
    positions = _positions(batch)
    logits, labels = output.logits.flatten(0, 1)[positions], batch["labels"].flatten()[positions]
    return Outcome((Prediction(logits, labels),), output)


def predict_spans(model: nn.Module, batch: Batch) -> Outcome:
    """Return the logits of an answer's first and last token (batch, length), each with half of the loss.

    Where no answer can stand (question, separators, padding), a logit is so low that neither the loss nor a
    distance to a teacher depends on it.

    Args:
        model: a question-answering model of transformers, possibly wrapped.
        batch: with ``start_positions`` and ``end_positions`` (batch,), and ``answer_mask`` (batch, length),
            True at the context's tokens and at [CLS], which stands for no answer.
    """
    output = model(**_typed_inputs(model, batch))
    impossible = ~batch["answer_mask"]
    start, end = (
        logits.masked_fill(impossible, _IMPOSSIBLE) for logits in (output.start_logits, output.end_logits)
    )
    heads = (
        Prediction(start, batch["start_positions"], weight=0.5),
        Prediction(end, batch["end_positions"], weight=0.5),
    )
    return Outcome(heads, output)


def _positions(batch: Batch) -> Tensor:
    found = batch.get(_POSITIONS)
    return _label_positions(batch["labels"]) if found is None else found


def _label_positions(labels: Tensor) -> Tensor:
    return (labels.flatten() != IGNORED_LABEL).nonzero().flatten()


def _typed_inputs(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    inputs = _inputs(batch)
    # DistilBERT has BERT's tokenizer and no token types, RoBERTa has a single one.
    if getattr(getattr(model, "module", model).config, "type_vocab_size", 0) < 2:  # noqa: PLR2004
        inputs.pop("token_type_ids", None)
    return inputs


def _inputs(batch: Batch) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in batch.items() if not name.endswith(_TARGETS)}


@contextmanager
def _head_on(positions: Tensor, model: nn.Module) -> Iterator[None]:
    def select(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state.flatten(0, 1)[positions]
        return output

    handle = base_model(model).register_forward_hook(select)
    try:
        yield
    finally:
        handle.remove()


OBJECTIVES: Mapping[str, Objective] = {
    "masked_lm": Objective(AutoModelForMaskedLM, predict_masked_tokens),
    "masked_lm_next_sentence": Objective(
        AutoModelForPreTraining, predict_masked_tokens_and_next_sentence, ("labels", "next_sentence_label")
    ),
    "sequence_classification": Objective(AutoModelForSequenceClassification, predict_classes),
    "token_classification": Objective(AutoModelForTokenClassification, predict_tags),
    "question_answering": Objective(
        AutoModelForQuestionAnswering, predict_spans, ("start_positions", "end_positions")
    ),
}
