from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.documentation_parts import load_documentation_parts
from sparsezoo_hub.training.model_evaluation import evaluate_masked_lm, evaluate_task
from sparsezoo_hub.training.run import RecipeRun

TASK = "python-documentation-parts"


def test_a_stored_classifier_is_judged_as_its_stage_was(finished_run: RecipeRun) -> None:
    found = evaluate_task(finished_run.model_folder("transferred"), TASK, max_length=16)
    stored = finished_run.run_stage("transferred")[0]
    assert found.loss == pytest.approx(stored.validation_loss, rel=1e-5)
    assert found.accuracy == stored.validation_accuracy
    assert found.num_predictions == stored.num_predictions


def test_the_numbers_are_those_of_a_loop_over_the_texts(finished_run: RecipeRun) -> None:
    folder = finished_run.model_folder("transferred")
    model, tokenizer = (
        each.from_pretrained(folder) for each in (AutoModelForSequenceClassification, AutoTokenizer)
    )
    split = load_documentation_parts()
    inputs = tokenizer(
        [each.text for each in split.validation],
        truncation=True,
        max_length=16,
        padding=True,
        return_tensors="pt",
    )
    labels = torch.tensor([model.config.label2id[each.label] for each in split.validation])
    with torch.no_grad():
        logits = model(**inputs).logits
    found = evaluate_task(folder, TASK, max_length=16)
    assert found.num_predictions == len(split.validation)
    assert found.accuracy == int((logits.argmax(-1) == labels).sum()) / len(labels)
    assert found.loss == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-5)


def test_labels_are_matched_by_name_whatever_their_order(finished_run: RecipeRun, tmp_path: Path) -> None:
    folder = finished_run.model_folder("transferred")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    names = [model.config.id2label[index] for index in range(5)]
    order = [3, 1, 4, 0, 2]
    with torch.no_grad():
        for weight in model.classifier.parameters():
            weight.copy_(weight[order].clone())
    model.config.id2label = dict(enumerate(names[index] for index in order))
    model.config.label2id = {name: index for index, name in model.config.id2label.items()}
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    expected, found = evaluate_task(folder, TASK, 16), evaluate_task(tmp_path, TASK, 16)
    assert found.accuracy == expected.accuracy
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)


def test_a_language_model_is_judged_on_the_users_text(finished_run: RecipeRun, texts: list[Path]) -> None:
    teacher = finished_run.model_folder("teacher")
    found = evaluate_masked_lm(teacher, texts, max_length=16)
    untrained = evaluate_masked_lm(finished_run.model_folder("backbone"), texts, max_length=16)
    assert untrained.loss == pytest.approx(5.39, abs=0.05)  # ln 220: a random model knows nothing
    assert found.loss < untrained.loss - 0.05
    assert found.num_predictions == untrained.num_predictions > 500
    assert evaluate_masked_lm(teacher, texts, max_length=16) == found


def test_a_model_without_the_tasks_labels_is_refused(finished_run: RecipeRun) -> None:
    with pytest.raises(
        BackboneError, match=rf"predicts \['LABEL_0', 'LABEL_1'\], task {TASK} has .*fine-tune"
    ):
        evaluate_task(finished_run.model_folder("teacher"), TASK, max_length=16)


def test_a_classifier_is_not_judged_as_a_language_model(finished_run: RecipeRun, texts: list[Path]) -> None:
    with pytest.raises(BackboneError, match="no masked language model's head"):
        evaluate_masked_lm(finished_run.model_folder("transferred"), texts, max_length=16)


def test_more_tokens_than_the_model_takes_are_refused(finished_run: RecipeRun, texts: list[Path]) -> None:
    with pytest.raises(BackboneError, match="takes 32 tokens, max_length is 48: lower it"):
        evaluate_masked_lm(finished_run.model_folder("teacher"), texts, max_length=48)
    with pytest.raises(BackboneError, match="takes 32 tokens, max_length is 48: lower it"):
        evaluate_task(finished_run.model_folder("transferred"), TASK, max_length=48)


def test_an_unknown_task_is_refused_with_the_nearest_name(finished_run: RecipeRun) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{TASK}'"):
        evaluate_task(finished_run.model_folder("transferred"), "python-documentation-part", max_length=16)
