"""Distillation from what lies between the input and the logits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertConfig, BertModel

from sparsezoo_hub.core.distillation import attention_loss, hidden_state_loss, teacher_layers

BATCH, LENGTH, SIZE, HEADS = 3, 5, 4, 2
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])


def hidden_states(num_layers: int, seed: int, size: int = SIZE) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(BATCH, LENGTH, size, generator=generator) for _ in range(num_layers + 1)]


def attentions(num_layers: int, seed: int, heads: int = HEADS) -> list[Tensor]:
    """Probabilities as a model gives them: nothing for padded keys."""
    generator = torch.Generator().manual_seed(seed)
    hidden = (MASK == 0)[:, None, None, :]
    return [
        torch.randn(BATCH, heads, LENGTH, LENGTH, generator=generator)
        .masked_fill(hidden, -math.inf)
        .softmax(dim=-1)
        for _ in range(num_layers)
    ]


def kept_positions() -> list[tuple[int, int]]:
    return [(int(row), int(position)) for row, position in MASK.nonzero()]


@pytest.mark.parametrize(
    ("num_student", "num_teacher", "expected"),
    [
        (4, 12, (0, 3, 6, 9, 12)),  # TinyBERT's own
        (6, 12, (0, 2, 4, 6, 8, 10, 12)),
        (3, 24, (0, 8, 16, 24)),
        (5, 12, (0, 3, 5, 8, 10, 12)),  # 2.4, 4.8, 7.2, 9.6, 12
        (3, 2, (0, 1, 2, 2)),  # 2/3, 4/3, 2
    ],
)
def test_layers_learn_from_teacher_layers_at_the_same_share_of_the_way(
    num_student: int, num_teacher: int, expected: tuple[int, ...]
) -> None:
    assert teacher_layers(num_student, num_teacher) == expected


@given(num_student=st.integers(1, 30), num_teacher=st.integers(1, 30))
def test_the_last_layer_learns_from_the_last_and_no_layer_from_the_embeddings(
    num_student: int, num_teacher: int
) -> None:
    layers = teacher_layers(num_student, num_teacher)
    assert (len(layers), layers[0], layers[-1]) == (num_student + 1, 0, num_teacher)
    assert min(layers[1:]) >= 1
    if num_student <= num_teacher:
        assert len(set(layers)) == len(layers)


@pytest.mark.parametrize(("num_student", "num_teacher"), [(0, 12), (3, 0)])
def test_a_model_without_layers_is_refused(num_student: int, num_teacher: int) -> None:
    with pytest.raises(ValueError, match="at least 1 layer"):
        teacher_layers(num_student, num_teacher)


def test_the_hidden_state_loss_is_that_of_the_definition() -> None:
    student, teacher = hidden_states(2, seed=0), hidden_states(4, seed=1)
    squares = [
        (student[layer][row, position] - teacher[2 * layer][row, position]).double().square().mean()
        for layer in range(3)
        for row, position in kept_positions()
    ]
    expected = float(torch.stack(squares).mean())
    assert hidden_state_loss(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-6)


def test_the_attention_loss_is_that_of_the_definition() -> None:
    student, teacher = attentions(2, seed=0), attentions(4, seed=1)
    divergences = []
    for layer, taught_by in ((0, 1), (1, 3)):
        for row, query in kept_positions():
            for head in range(HEADS):
                keys = [key for kept_row, key in kept_positions() if kept_row == row]
                pairs = [
                    (
                        teacher[taught_by][row, head, query, key].item(),
                        student[layer][row, head, query, key].item(),
                    )
                    for key in keys
                ]
                divergences.append(sum(taught * math.log(taught / own) for taught, own in pairs))
    expected = sum(divergences) / len(divergences)
    assert attention_loss(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("garbage", [7.0, -1e30, math.nan, math.inf])
def test_what_lies_at_padded_positions_changes_neither_loss_nor_gradient(garbage: float) -> None:
    padded = MASK == 0
    pairs = padded[:, None, :, None] | padded[:, None, None, :]
    for loss, make, hidden in (
        (hidden_state_loss, hidden_states, padded[:, :, None]),
        (attention_loss, attentions, pairs),
    ):
        results = []
        for fill in (None, garbage):
            student, teacher = make(2, seed=0), make(4, seed=1)
            if fill is not None:
                student = [each.masked_fill(hidden, fill) for each in student]
                teacher = [each.masked_fill(hidden, fill) for each in teacher]
            for each in student:
                each.requires_grad_(True)
            value = loss(student, teacher, MASK)
            results.append((value, torch.autograd.grad(value, student)))
        (clean, clean_gradients), (dirty, dirty_gradients) = results
        assert torch.equal(clean, dirty)
        for one, other in zip(clean_gradients, dirty_gradients, strict=True):
            assert torch.equal(one, other)
            assert not other.masked_select(hidden.expand_as(other)).any()


def test_more_padding_changes_nothing() -> None:
    model = {
        layers: BertModel(
            BertConfig(
                vocab_size=30,
                hidden_size=8,
                num_hidden_layers=layers,
                num_attention_heads=2,
                intermediate_size=8,
                initializer_range=0.5,
                attn_implementation="eager",
            )
        ).eval()
        for layers in (2, 4)
    }
    ids = torch.randint(1, 30, (2, 6), generator=torch.Generator().manual_seed(0))
    losses = []
    for padding in (0, 5):
        inputs = {
            "input_ids": torch.nn.functional.pad(ids, (0, padding)),
            "attention_mask": torch.nn.functional.pad(torch.ones_like(ids), (0, padding)),
        }
        with torch.no_grad():
            student, teacher = (
                model[layers](**inputs, output_hidden_states=True, output_attentions=True)
                for layers in (2, 4)
            )
        losses.append(
            (
                hidden_state_loss(
                    student.hidden_states, teacher.hidden_states, inputs["attention_mask"]
                ).item(),
                attention_loss(student.attentions, teacher.attentions, inputs["attention_mask"]).item(),
            )
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert min(losses[0]) > 1e-3


def test_a_teacher_in_bfloat16_is_compared_in_float32() -> None:
    student, teacher = hidden_states(2, seed=0), [each.bfloat16() for each in hidden_states(2, seed=1)]
    loss = hidden_state_loss(student, teacher, MASK)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, hidden_state_loss(student, [each.float() for each in teacher], MASK))
    own, taught = attentions(2, seed=0), [each.bfloat16() for each in attentions(2, seed=1)]
    divergence = attention_loss(own, taught, MASK)
    assert divergence.dtype == torch.float32
    assert torch.equal(divergence, attention_loss(own, [each.float() for each in taught], MASK))


def test_attentions_of_a_student_in_bfloat16_count_as_probabilities() -> None:
    assert (
        attention_loss([each.bfloat16() for each in attentions(2, seed=0)], attentions(2, seed=1), MASK) > 0
    )


def test_a_student_that_equals_its_teacher_has_nothing_to_learn() -> None:
    assert hidden_state_loss(hidden_states(3, seed=0), hidden_states(3, seed=0), MASK).item() == 0
    assert attention_loss(attentions(3, seed=0), attentions(3, seed=0), MASK).item() == pytest.approx(
        0, abs=1e-6
    )


def test_a_probability_that_underflowed_leaves_the_loss_finite() -> None:
    student, teacher = attentions(1, seed=0), attentions(1, seed=1)
    student[0][0, 0, 0] = torch.tensor([1.0, 0, 0, 0, 0])
    assert attention_loss(student, teacher, MASK).isfinite()


def test_attention_after_dropout_is_refused() -> None:
    dropped = torch.nn.functional.dropout(attentions(1, seed=0)[0], p=0.1)
    with pytest.raises(ValueError, match="dropout"):
        attention_loss([dropped], attentions(1, seed=1), MASK)


def test_another_hidden_size_or_number_of_heads_is_refused() -> None:
    with pytest.raises(ValueError, match=r"student's hidden size is 4 and the teacher's 6"):
        hidden_state_loss(hidden_states(2, seed=0), hidden_states(2, seed=1, size=6), MASK)
    with pytest.raises(ValueError, match=r"student's number of attention heads is 2 and the teacher's 3"):
        attention_loss(attentions(2, seed=0), attentions(2, seed=1, heads=3), MASK)


def test_other_positions_are_refused() -> None:
    shorter = [each[:, :4] for each in hidden_states(2, seed=1)]
    with pytest.raises(ValueError, match=r"\(3, 5, 4\), the teacher's \(3, 4, 4\)"):
        hidden_state_loss(hidden_states(2, seed=0), shorter, MASK)
    with pytest.raises(ValueError, match=r"\(3, 5\), got \(3, 4\)"):
        hidden_state_loss(hidden_states(2, seed=0), hidden_states(2, seed=1), MASK[:, :4])


def test_a_mask_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="keeps no position"):
        hidden_state_loss(hidden_states(2, seed=0), hidden_states(2, seed=1), torch.zeros_like(MASK))


def test_models_that_return_no_attentions_are_refused_with_what_to_ask_them_for() -> None:
    with pytest.raises(ValueError, match="output_attentions=True"):
        attention_loss((), attentions(1, seed=0), MASK)
    with pytest.raises(ValueError, match="output_hidden_states=True"):
        hidden_state_loss((), hidden_states(1, seed=0), MASK)
