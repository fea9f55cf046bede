import pytest
import torch
from torch.nn.functional import cross_entropy
from training_case import LANGUAGE_MODELS, classifier, labelled_rows, language_model, masked_rows, stack

from sparsezoo_hub.training.objectives import OBJECTIVES, predict_classes, predict_masked_tokens


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_masked_positions_alone_give_the_logits_and_gradients_of_the_whole(kind: str) -> None:
    model = language_model(kind).eval()
    batch = stack(masked_rows(6))
    asked = batch["labels"] != -100

    whole = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    cross_entropy(whole[asked], batch["labels"][asked]).backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()

    [prediction] = predict_masked_tokens(model, batch).predictions
    logits, labels = prediction.logits, prediction.labels
    assert logits.shape == (int(asked.sum()), whole.shape[-1])
    torch.testing.assert_close(logits, whole[asked])
    assert torch.equal(labels, batch["labels"][asked])
    cross_entropy(logits, labels).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], msg=name)


def test_a_model_behind_a_wrapper_is_found() -> None:
    class Wrapper(torch.nn.Module):  # as DistributedDataParallel holds the model
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, **inputs: torch.Tensor) -> object:
            return self.module(**inputs)

    model = language_model().eval()
    batch = stack(masked_rows(3))
    wrapped, bare = (predict_masked_tokens(each, batch).predictions[0] for each in (Wrapper(model), model))
    assert torch.equal(wrapped.logits, bare.logits)


def test_afterwards_the_model_predicts_every_position_again() -> None:
    model = language_model().eval()
    batch = stack(masked_rows(3))
    predict_masked_tokens(model, batch)
    assert model(input_ids=batch["input_ids"]).logits.shape[:2] == batch["input_ids"].shape


def test_the_hook_is_gone_after_an_exception_too() -> None:
    model = language_model().eval()
    batch = stack(masked_rows(3))
    with pytest.raises(IndexError):
        predict_masked_tokens(model, {**batch, "input_ids": batch["input_ids"] + 10_000})
    assert not model.base_model._forward_hooks
    assert model(input_ids=batch["input_ids"]).logits.shape[:2] == batch["input_ids"].shape


def test_a_batch_that_asks_for_nothing_moves_no_weight() -> None:
    model = language_model().eval()
    batch = stack(masked_rows(2))
    nothing = torch.full_like(batch["labels"], -100)
    [prediction] = predict_masked_tokens(model, {**batch, "labels": nothing}).predictions
    logits, labels = prediction.logits, prediction.labels
    assert len(logits) == len(labels) == 0
    cross_entropy(logits, labels).backward()
    assert not any(weight.grad.any() for weight in model.parameters() if weight.grad is not None)


def test_classes_are_the_models_own_logits_and_the_labels_stay_out_of_it() -> None:
    model = classifier().eval()
    batch = stack(labelled_rows(5))
    [prediction] = predict_classes(model, batch).predictions
    expected = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    assert torch.equal(prediction.logits, expected.logits)
    assert prediction.labels.tolist() == [0, 1, 2, 0, 1]


def test_each_objective_loads_the_head_that_it_predicts_with() -> None:
    assert {name: each.auto_class.__name__ for name, each in OBJECTIVES.items()} == {
        "masked_lm": "AutoModelForMaskedLM",
        "masked_lm_next_sentence": "AutoModelForPreTraining",
        "sequence_classification": "AutoModelForSequenceClassification",
        "token_classification": "AutoModelForTokenClassification",
        "question_answering": "AutoModelForQuestionAnswering",
    }
