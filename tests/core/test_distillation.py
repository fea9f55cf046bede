import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sparsezoo_hub.core.distillation import combined_loss, distillation_loss


def test_the_loss_is_that_of_the_definition() -> None:
    # Two classes, T = 2: teacher softmax of (0, ln 9) / 2 is (1/4, 3/4), the student's is (1/2, 1/2).
    student = torch.zeros(1, 2)
    teacher = torch.tensor([[0.0, math.log(9.0)]])
    divergence = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert distillation_loss(student, teacher, 2.0).item() == pytest.approx(4 * divergence, rel=1e-6)


def test_the_gradient_is_that_of_soft_cross_entropy_times_t_squared() -> None:
    torch.manual_seed(0)
    teacher = torch.randn(5, 7)
    student = torch.randn(5, 7, requires_grad=True)
    (ours,) = torch.autograd.grad(distillation_loss(student, teacher, 3.0), student)
    soft = cross_entropy(student / 3, (teacher / 3).softmax(dim=-1))
    (expected,) = torch.autograd.grad(9 * soft, student)
    assert torch.allclose(ours, expected, atol=1e-7)


def test_a_student_that_equals_its_teacher_has_no_loss() -> None:
    logits = torch.randn(3, 4)
    assert distillation_loss(logits, logits.clone(), 2.0).item() == pytest.approx(0, abs=1e-7)


def test_the_loss_does_not_grow_with_the_number_of_positions() -> None:
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    once = distillation_loss(student, teacher, 2.0)
    twice = distillation_loss(student.repeat(2, 1), teacher.repeat(2, 1), 2.0)
    assert once.item() == pytest.approx(twice.item(), rel=1e-6)


def test_hardness_weighs_task_and_teacher() -> None:
    assert combined_loss(torch.tensor(1.0), torch.tensor(5.0), 0.25).item() == pytest.approx(2.0)


def test_the_two_weights_of_equation_3_are_free() -> None:
    loss = combined_loss(torch.tensor(1.0), torch.tensor(5.0), 0.25, task_weight=2.0)
    assert loss.item() == pytest.approx(3.25)
