import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from training_case import classifier, labelled_rows, language_model, masked_rows, stack

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.evaluation import evaluate
from sparsezoo_hub.training.objectives import OBJECTIVES

ROWS = {"masked_lm": masked_rows(11), "sequence_classification": labelled_rows(11)}
MODELS = {"masked_lm": language_model, "sequence_classification": lambda: classifier(dropout=True)}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 64])
def test_the_mean_is_that_of_one_pass_over_all_examples_whatever_the_batch_size(
    kind: str, batch_size: int
) -> None:
    model = MODELS[kind]().eval()
    batch = stack(ROWS[kind])
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    asked = batch["labels"] != -100  # every label of a classifier
    labels = batch["labels"][asked]
    found = evaluate(model, OBJECTIVES[kind], ROWS[kind], stack, batch_size)
    assert found.loss == pytest.approx(float(cross_entropy(logits[asked], labels)), rel=1e-5)
    right = int((logits[asked].argmax(-1) == labels).sum())
    # Rows have 1, 2, 3, 4, 1, … masked positions: 10 + 10 + 6; a classifier has one answer each.
    assert found.num_predictions == {"masked_lm": 26, "sequence_classification": 11}[kind]
    assert found.accuracy == right / found.num_predictions


@pytest.mark.parametrize("training", [True, False])
def test_the_model_comes_back_in_its_mode_and_was_judged_without_dropout(training: bool) -> None:
    model = classifier(dropout=True).train(training)
    modes = []
    model.register_forward_pre_hook(lambda module, _inputs: modes.append(module.training))
    evaluate(model, OBJECTIVES["sequence_classification"], labelled_rows(5), stack, 2)
    assert modes == [False, False, False]
    assert all(module.training is training for module in model.modules())


def test_the_mode_comes_back_after_an_exception() -> None:
    def broken(_rows: Any) -> Any:
        raise OSError("disk gone")

    model = classifier().train()
    with pytest.raises(OSError, match="disk gone"):
        evaluate(model, OBJECTIVES["sequence_classification"], labelled_rows(2), broken)
    assert model.training


def test_it_draws_no_random_number_that_training_would_miss() -> None:
    model = language_model().train()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    evaluate(model, OBJECTIVES["masked_lm"], masked_rows(5), stack, 2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_nothing_to_predict_is_refused() -> None:
    rows = [{**row, "labels": torch.full_like(row["labels"], -100)} for row in masked_rows(3)]
    with pytest.raises(CorpusError, match="3 validation examples have nothing to predict"):
        evaluate(language_model(), OBJECTIVES["masked_lm"], rows, stack)
