import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from training_case import classifier, labelled_rows, language_model, masked_rows, sparse_trainer, stack
from transformers import PreTrainedModel, TrainerCallback

from sparsezoo_hub.core.learning_rates import Course, Window, linear, rewinding
from sparsezoo_hub.core.stage_settings import Distillation

KIND = "sequence_classification"


class LearningRates(TrainerCallback):
    def __init__(self) -> None:
        self.used: list[float] = []

    def on_step_begin(self, _args: Any, _state: Any, _control: Any, **kwargs: Any) -> None:
        rates = {group["lr"] for group in kwargs["optimizer"].param_groups}
        assert len(rates) == 1
        self.used += rates


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        # P = 6 steps of window, D = 12 - 6 - 1 = 5: back to (12 - 6 - 2) / 5 at 2, 5 and 8.
        (
            partial(rewinding, course=Course(total=12, warmup=1, window=Window(2, 8, 3))),
            [0, 1, 0.8, 0.6, 0.4, 0.8, 0.6, 0.4, 0.8, 0.6, 0.4, 0.2],
        ),
        (
            partial(linear, course=Course(total=12, warmup=2)),
            [0, 0.5, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
        ),
    ],
    ids=["rewinding", "linear"],
)
@pytest.mark.parametrize("accumulated", [1, 2])
def test_every_step_is_done_at_the_learning_rate_of_the_formula(
    factor: Any, expected: list[float], accumulated: int, tmp_path: Path
) -> None:
    rates = LearningRates()
    sparse_trainer(
        tmp_path,
        classifier(),
        KIND,
        labelled_rows(8),
        steps=12,
        factor=factor,
        callbacks=[rates],
        arguments={"gradient_accumulation_steps": accumulated},
    ).train()
    assert rates.used == pytest.approx([0.01 * each for each in expected])  # 0.01 is the peak


def loss_and_gradients(trainer: Any, batch: dict[str, torch.Tensor]) -> tuple[float, list[torch.Tensor]]:
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), [weight.grad.clone() for weight in trainer.model.parameters()]


@pytest.mark.parametrize("hardness", [1.0, 0.25])
def test_the_gradient_is_the_weighted_sum_of_the_tasks_and_the_divergences(
    hardness: float, tmp_path: Path
) -> None:
    student, teacher = classifier(0), classifier(1)
    batch = stack(labelled_rows(5))
    trainer = sparse_trainer(
        tmp_path,
        student,
        KIND,
        labelled_rows(5),
        teacher=teacher,
        distillation=Distillation(hardness=hardness, temperature=3.0),
    )
    loss, gradients = loss_and_gradients(trainer, batch)

    student.zero_grad()
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = student(**inputs).logits
    with torch.no_grad():
        target = torch.softmax(teacher(**inputs).logits / 3, dim=-1)
    divergence = 9 * kl_div(log_softmax(logits / 3, dim=-1), target, reduction="sum") / 5
    expected = hardness * divergence + (1 - hardness) * cross_entropy(logits, batch["labels"])
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for weight, gradient in zip(student.parameters(), gradients, strict=True):
        torch.testing.assert_close(gradient, weight.grad)


def test_at_hardness_1_the_labels_do_not_count(tmp_path: Path) -> None:
    trainer = sparse_trainer(
        tmp_path,
        classifier(0),
        KIND,
        labelled_rows(5),
        teacher=classifier(1),
        distillation=Distillation(hardness=1.0, temperature=2.0),
    )
    batch = stack(labelled_rows(5))
    loss, gradients = loss_and_gradients(trainer, batch)
    other, other_gradients = loss_and_gradients(trainer, {**batch, "labels": (batch["labels"] + 1) % 3})
    assert loss == other
    assert all(torch.equal(one, two) for one, two in zip(gradients, other_gradients, strict=True))


def test_masked_lm_is_distilled_on_the_masked_positions_alone(tmp_path: Path) -> None:
    student, teacher = language_model(seed=0).eval(), language_model(seed=1).eval()
    batch = stack(masked_rows(5))
    trainer = sparse_trainer(
        tmp_path,
        student,
        "masked_lm",
        masked_rows(5),
        teacher=teacher,
        distillation=Distillation(hardness=1.0, temperature=2.0),
    )
    asked = batch["labels"] != -100
    with torch.no_grad():
        found = float(trainer.compute_loss(student, batch))
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        ours = log_softmax(student(**inputs).logits[asked] / 2, dim=-1)
        theirs = log_softmax(teacher(**inputs).logits[asked] / 2, dim=-1)
    expected = 4 * float((theirs.exp() * (theirs - ours)).sum()) / int(asked.sum())
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_teacher_is_judged_without_dropout_and_never_learns(tmp_path: Path) -> None:
    teacher = classifier(1, dropout=True).train()
    before = copy.deepcopy(teacher.state_dict())
    modes = set()
    teacher.register_forward_pre_hook(lambda module, _inputs: modes.add(module.training))
    sparse_trainer(
        tmp_path,
        classifier(0, dropout=True),
        KIND,
        labelled_rows(8),
        steps=3,
        teacher=teacher,
        distillation=Distillation(hardness=0.5, temperature=2.0),
    ).train()
    assert modes == {False}
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())


def trained(folder: Path, **options: Any) -> PreTrainedModel:
    model = classifier(0, dropout=options.pop("dropout", True))
    sparse_trainer(folder, model, KIND, labelled_rows(32), steps=3, **options).train()
    return model


def test_a_teacher_at_hardness_0_changes_nothing(tmp_path: Path) -> None:
    alone = trained(tmp_path)
    taught = trained(
        tmp_path, teacher=classifier(1), distillation=Distillation(hardness=0.0, temperature=2.0)
    )
    untrained = classifier(0)
    assert all(
        torch.equal(one, two) for one, two in zip(alone.parameters(), taught.parameters(), strict=True)
    )
    assert not torch.equal(alone.classifier.weight, untrained.classifier.weight)


def test_two_batches_of_4_accumulated_are_one_batch_of_8(tmp_path: Path) -> None:
    # Clipping would hide a gradient of another size, and Adam does not see it.
    sgd = {"optim": "sgd", "max_grad_norm": 0.0}
    whole = trained(tmp_path, dropout=False, batch_size=8, arguments=sgd)
    halves = trained(
        tmp_path, dropout=False, batch_size=4, arguments={**sgd, "gradient_accumulation_steps": 2}
    )
    for one, two, start in zip(
        whole.parameters(), halves.parameters(), classifier(0).parameters(), strict=True
    ):
        torch.testing.assert_close(one - start, two - start, rtol=1e-3, atol=1e-7)
    assert not torch.equal(whole.classifier.weight, classifier(0).classifier.weight)
