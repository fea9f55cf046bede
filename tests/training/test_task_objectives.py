from collections.abc import Callable
from typing import Any

import pytest
import torch
from task_case import word_tokenizer
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    PreTrainedModel,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from sparsezoo_hub.core.distillation import distillation_loss
from sparsezoo_hub.training.objectives import OBJECTIVES, Outcome, with_label_positions
from sparsezoo_hub.training.tasks.batches import padding_collator
from sparsezoo_hub.training.tasks.question_answering import QuestionAnswering
from sparsezoo_hub.training.tasks.task_data import Question, TaggedWords
from sparsezoo_hub.training.tasks.word_classification import WordClassification
from sparsezoo_hub.training.trainer import task_loss

TOKENIZER = word_tokenizer()
SIZES: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 80,
    "initializer_range": 0.2,
    "num_labels": 2,
}
WORDS = [TaggedWords(("river", "abc", "stone"), ("O", "B", "O")), TaggedWords(("paper",), ("B",))]
QUESTIONS = [
    Question("1", "where is paper?", "river stone paper", ("paper",), (12,)),
    Question("2", "where?", "river stone", (), ()),
]
FEATURES = {
    "token_classification": WordClassification(TOKENIZER, 32, ("O", "B")).encode(WORDS).features,
    "question_answering": QuestionAnswering(TOKENIZER, 64).encode(QUESTIONS).features,
}
MODELS = {"token_classification": BertForTokenClassification, "question_answering": BertForQuestionAnswering}


def model(kind: str, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return MODELS[kind](BertConfig(**SIZES)).eval()


def batch(kind: str, more: int = 0) -> dict[str, torch.Tensor]:
    """Both examples, with more padding than they need."""
    padding = {"input_ids": 0, "labels": -100}
    wider = {
        name: torch.nn.functional.pad(tensor, (0, more), value=padding.get(name, 0))
        if tensor.dim() == 2
        else tensor
        for name, tensor in padding_collator(TOKENIZER)(FEATURES[kind]).items()
    }
    return with_label_positions(wider)


@torch.no_grad()
def predict(kind: str, seed: int = 0, more: int = 0) -> Outcome:
    return OBJECTIVES[kind].predict(model(kind, seed), batch(kind, more))


@pytest.mark.parametrize("kind", FEATURES)
def test_neither_the_loss_nor_the_distance_to_a_teacher_depends_on_padding(kind: str) -> None:
    for temperature in (1.0, 5.5):
        found = []
        for more in (0, 7):
            own, taught = predict(kind, 0, more), predict(kind, 1, more)
            pairs = zip(own.predictions, taught.predictions, strict=True)
            distances = [distillation_loss(one.logits, two.logits, temperature) for one, two in pairs]
            found.append((float(task_loss(own)), float(sum(distances))))
        assert found[0] == pytest.approx(found[1], rel=1e-4)
        assert found[0][1] > 0


@torch.no_grad()
@pytest.mark.parametrize("kind", FEATURES)
def test_the_loss_is_that_of_transformers(kind: str) -> None:
    # An independent implementation; in question answering it has no mask, so padding is left out.
    for index in range(2):
        features = padding_collator(TOKENIZER)(FEATURES[kind][index : index + 1])
        own = OBJECTIVES[kind].predict(model(kind), features)
        if kind == "question_answering":
            first = own.predictions[0].logits
            assert first.shape == features["input_ids"].shape
            allowed = features.pop("answer_mask")
            stock = model(kind)(**features)
            expected = [
                torch.nn.functional.cross_entropy(
                    torch.where(allowed, logits, -torch.inf), features[f"{end}_positions"]
                )
                for end, logits in (("start", stock.start_logits), ("end", stock.end_logits))
            ]
            assert float(task_loss(own)) == pytest.approx(float(sum(expected)) / 2)
        else:
            assert float(task_loss(own)) == pytest.approx(float(model(kind)(**features).loss))


def test_only_words_first_pieces_are_predicted() -> None:
    [prediction] = predict("token_classification").predictions
    assert prediction.labels.tolist() == [0, 1, 0, 1]
    assert prediction.logits.shape == (4, 2)


def test_an_answer_stands_in_the_context_or_at_cls() -> None:
    outcome = predict("question_answering")
    assert [each.weight for each in outcome.predictions] == [0.5, 0.5]
    allowed = batch("question_answering")["answer_mask"]
    for prediction in outcome.predictions:
        shares = prediction.logits.softmax(-1)
        assert (shares[~allowed] == 0).all()
        assert (shares[allowed] > 0).all()


@torch.no_grad()
def test_masked_logits_stay_finite_at_half_precision() -> None:
    half = model("question_answering").to(torch.bfloat16)
    outcome = OBJECTIVES["question_answering"].predict(half, batch("question_answering"))
    assert task_loss(outcome).isfinite()
    assert torch.tensor(-1e4, dtype=torch.float16).isfinite()


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_a_model_without_token_types_is_given_none(family: str) -> None:
    torch.manual_seed(0)
    models: dict[str, Callable[[], PreTrainedModel]] = {
        "roberta": lambda: RobertaForQuestionAnswering(
            RobertaConfig(**SIZES, pad_token_id=0, type_vocab_size=1)
        ),
        "distilbert": lambda: DistilBertForQuestionAnswering(
            DistilBertConfig(vocab_size=len(TOKENIZER), dim=16, hidden_dim=24, n_layers=1, n_heads=2)
        ),
    }
    inputs = batch("question_answering")
    assert inputs["token_type_ids"].any()
    outcome = OBJECTIVES["question_answering"].predict(models[family]().eval(), inputs)
    assert outcome.predictions[0].logits.shape == inputs["input_ids"].shape


@torch.no_grad()
def test_a_bert_reads_the_token_types() -> None:
    inputs = batch("question_answering")
    one, other = (
        OBJECTIVES["question_answering"].predict(model("question_answering"), each).predictions[0].logits
        for each in (inputs, {**inputs, "token_type_ids": torch.zeros_like(inputs["input_ids"])})
    )
    assert not torch.allclose(one, other)
