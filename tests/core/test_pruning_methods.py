from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from sparsezoo_hub.core.fisher import FisherOptions
from sparsezoo_hub.core.pruning_methods import (
    METHODS,
    Movement,
    OptimalBertSurgeon,
    PruningMethod,
    build_method,
    sample_gradients,
    split_increase,
)
from sparsezoo_hub.core.selection import select_masks
from sparsezoo_hub.core.structures import STRUCTURES, Structure, parse_structure
from sparsezoo_hub.errors import MaskError, SparsityError

SINGLE, BLOCKS = STRUCTURES["unstructured"], STRUCTURES["1x4"]


def surgeon_with(gradients: Tensor, structure: Structure = SINGLE, **options: float) -> PruningMethod:
    """A surgeon that has seen ``gradients``, (num_gradients, out_features, in_features), of component a."""
    method = OptimalBertSurgeon(structure, FisherOptions(num_gradients=len(gradients), **options))
    sample_gradients(method, [{"a": each} for each in gradients])
    return method


def gradients_of(hessian: np.ndarray) -> Tensor:
    """Gradients whose mean outer product is the Hessian: sqrt(m) times the rows of a root of it."""
    root = np.linalg.cholesky(hessian).T
    return torch.from_numpy(root * np.sqrt(len(root))).unsqueeze(1)


def some_hessian(size: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(2 * size, size))
    return rows.T @ rows / size + 0.1 * np.eye(size)


def random_gradients(num: int, *shape: int) -> Tensor:
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.mark.parametrize("name", METHODS)
def test_every_method_scores_and_keeps_shapes_dtypes_and_the_given_weights(name: str) -> None:
    method = build_method(name, fisher=FisherOptions(block_size=4, num_gradients=3))
    weights = {"a": torch.randn(3, 6), "b": torch.randn(1, 5).bfloat16()}
    before = {each: weight.clone() for each, weight in weights.items()}
    gradients = {each: torch.randn_like(weight) for each, weight in weights.items()}
    if method.observes_training:
        method.observe(weights, gradients)
    sample_gradients(method, [gradients] * 3)
    masks = select_masks(method.scores(weights), 0.5)
    values = method.compensate(weights, masks)
    for each, weight in weights.items():
        assert (masks[each].shape, values[each].shape) == (weight.shape, weight.shape)
        assert values[each].dtype == weight.dtype
        assert torch.equal(weight, before[each])


@pytest.mark.parametrize("name", METHODS)
def test_a_method_resumed_from_its_state_gives_the_same_scores(name: str) -> None:
    torch.manual_seed(0)
    weights = {"a": torch.randn(2, 4)}
    steps = [{"a": torch.randn(2, 4)} for _ in range(4)]

    def run(method: PruningMethod, some: list[dict[str, Tensor]]) -> None:
        for gradients in some:
            method.observe(weights, gradients)

    options = FisherOptions(block_size=4, num_gradients=4)
    straight, first, second = (build_method(name, fisher=options) for _ in range(3))
    run(straight, steps)
    run(first, steps[:2])
    state = {key: value.clone() for key, value in first.state_dict().items()}
    second.load_state_dict(state)
    run(second, steps[2:])
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in state.items())
    for method in (straight, second):
        sample_gradients(method, steps)
    assert torch.equal(straight.scores(weights)["a"], second.scores(weights)["a"])


def test_magnitude_ranks_by_absolute_value() -> None:
    weight = torch.tensor([[-3.0, 2.0]], requires_grad=True)
    assert build_method("magnitude").scores({"a": weight})["a"].tolist() == [[3.0, 2.0]]


def test_movement_sums_weight_times_gradient_over_the_steps() -> None:
    method = Movement()
    steps = [((1.0, -2.0), (0.5, 0.5)), ((0.5, -2.5), (2.0, -1.0)), ((-1.0, -1.0), (0.25, 3.0))]
    for weight, gradient in steps:
        method.observe({"a": torch.tensor([weight])}, {"a": torch.tensor([gradient])})
    # -(1 * 0.5 + 0.5 * 2 - 1 * 0.25) and -(-2 * 0.5 + 2.5 * 1 - 1 * 3)
    assert method.scores({"a": torch.zeros(1, 2)})["a"].tolist() == [[-1.25, 1.5]]


def test_movement_keeps_what_moves_away_from_zero() -> None:
    """Plain gradient descent moves the first weight away and the second towards zero."""
    method, weight = Movement(), torch.tensor([[0.1, 2.0]])
    for _ in range(3):
        gradient = torch.tensor([[-0.1, 0.1]])
        method.observe({"a": weight}, {"a": gradient})
        weight = weight - gradient
    assert select_masks(method.scores({"a": weight}), 0.5)["a"].tolist() == [[True, False]]


def test_movement_without_a_step_is_refused() -> None:
    method = Movement()
    method.observe({"a": torch.ones(1)}, {"a": torch.ones(1)})
    with pytest.raises(SparsityError, match=r"none was observed for 1 of 2 weights, the first is b; start"):
        method.scores({"a": torch.ones(1), "b": torch.ones(1)})


@pytest.mark.parametrize("name", ["magnitude", "optimal_bert_surgeon"])
def test_the_state_of_another_method_is_refused(name: str) -> None:
    with pytest.raises(MaskError, match="the state has 1 tensors; resume with the method"):
        build_method(name).load_state_dict({"a": torch.zeros(1)})


def test_the_surgeons_scores_and_update_by_hand() -> None:
    # One gradient (1, 1) and a damping of 1: F = [[2, 1], [1, 2]], its inverse [[2, -1], [-1, 2]] / 3.
    method = surgeon_with(torch.ones(1, 1, 2), block_size=2, damping=1.0)
    weights = {"a": torch.tensor([[1.0, 3.0]])}
    # w² / (2 * 2/3) = 0.75 w²
    torch.testing.assert_close(method.scores(weights)["a"], torch.tensor([[0.75, 6.75]]))
    # w_2 - w_1 * (-1/3) / (2/3) = 3 + 0.5
    values = method.compensate(weights, {"a": torch.tensor([[False, True]])})
    torch.testing.assert_close(values["a"], torch.tensor([[0.0, 3.5]]))


@pytest.mark.parametrize(("structure", "group"), [("unstructured", 1), ("2:4", 1), ("1x4", 4), ("1x2", 2)])
def test_the_surgeon_follows_the_papers_formulas(structure: str, group: int) -> None:
    gradients = random_gradients(40, 3, 12).double()
    weight = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    method = surgeon_with(gradients, parse_structure(structure), block_size=8, damping=1e-4)
    scores = method.scores({"a": weight})["a"]
    mask = select_masks({"a": scores}, 0.5, structure=parse_structure(structure))["a"]
    values = method.compensate({"a": weight}, {"a": mask})["a"]

    flat, dropped = np.zeros(40), np.zeros(40, dtype=bool)  # 36 weights in 5 blocks of 8
    flat[:36], dropped[:36] = weight.double().numpy().ravel(), ~mask.numpy().ravel()
    padded = np.zeros((40, 40))
    padded[:, :36] = gradients.flatten(1).numpy()
    costs, mended = np.zeros(40), flat.copy()
    for start in range(0, 40, 8):
        rows = padded[:, start : start + 8]
        inverse = np.linalg.inv(rows.T @ rows / 40 + 1e-4 * np.eye(8))
        for first in range(0, 8, group):
            inner = slice(first, first + group)
            outer = slice(start + first, start + first + group)
            solved = np.linalg.inv(inverse[inner, inner]) @ flat[outer]
            costs[outer] = flat[outer] @ solved / 2 / group
            if dropped[outer].all():
                mended[start : start + 8] -= inverse[:, inner] @ solved
    mended[dropped] = 0.0
    np.testing.assert_allclose(scores.numpy().ravel(), costs[:36], rtol=1e-5)
    np.testing.assert_allclose(values.numpy().ravel(), mended[:36], rtol=1e-4, atol=1e-6)
    assert torch.count_nonzero(values[~mask]) == 0


def test_a_weight_that_was_pruned_before_changes_no_survivor() -> None:
    method = surgeon_with(random_gradients(20, 1, 4), block_size=4)
    weights = {"a": torch.tensor([[0.0, 1.0, 2.0, 0.0]])}
    values = method.compensate(weights, {"a": torch.tensor([[False, True, True, False]])})
    assert torch.equal(values["a"], weights["a"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("structure", ["unstructured", "1x4"])
def test_the_surgeon_loses_less_than_magnitude_where_the_hessian_is_known(structure: str, seed: int) -> None:
    """One unit removed at the minimum of a quadratic: no choice and no update loses less."""
    hessian, shape = some_hessian(16, seed), parse_structure(structure)
    best = np.random.default_rng(seed + 100).normal(size=16)
    weights = {"a": torch.from_numpy(best).view(1, 16)}

    def loss(values: Tensor) -> float:
        moved = values.double().numpy().ravel() - best
        return float(moved @ hessian @ moved / 2)

    sparsity = shape.block / 16
    surgeon = surgeon_with(gradients_of(hessian), shape, block_size=16, damping=1e-12)
    scores = surgeon.scores(weights)["a"]
    masks = select_masks({"a": scores}, sparsity, structure=shape)
    mended = loss(surgeon.compensate(weights, masks)["a"])
    by_magnitude = select_masks({"a": weights["a"].abs()}, sparsity, structure=shape)
    assert mended == pytest.approx(float(scores[~masks["a"]].sum()), rel=1e-4)
    assert mended <= loss(weights["a"] * masks["a"])
    assert mended <= loss(weights["a"] * by_magnitude["a"])


def test_a_surgeon_starts_anew_at_each_update() -> None:
    weights, mask = {"a": torch.ones(1, 4)}, {"a": torch.tensor([[True, True, False, True]])}
    used = surgeon_with(random_gradients(3, 1, 4), block_size=4)
    used.scores(weights)
    used.compensate(weights, mask)
    sample_gradients(used, [{"a": each} for each in torch.ones(3, 1, 4)])
    fresh = surgeon_with(torch.ones(3, 1, 4), block_size=4)
    assert torch.equal(used.scores(weights)["a"], fresh.scores(weights)["a"])
    # An update that ends after the scores leaves nothing behind either.
    sample_gradients(used, [{"a": each} for each in torch.ones(3, 1, 4)])
    assert torch.equal(used.scores(weights)["a"], fresh.scores(weights)["a"])


def test_scores_without_sampled_gradients_are_refused() -> None:
    with pytest.raises(SparsityError, match="no gradient was sampled for a; sample 1024 before each mask"):
        build_method("optimal_bert_surgeon").scores({"a": torch.ones(2)})


def test_fisher_blocks_that_cut_pruned_blocks_apart_are_refused() -> None:
    with pytest.raises(SparsityError, match=r"50 weights cuts blocks of structure '1x4' .* multiple of 4"):
        build_method("optimal_bert_surgeon", BLOCKS)


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown pruning method 'magnitud'.*did you mean 'magnitude'"):
        build_method("magnitud")


def test_progress_is_told_after_each_gradient_and_no_more_are_taken_than_needed() -> None:
    method = build_method("optimal_bert_surgeon", fisher=FisherOptions(num_gradients=2))
    taken, told = [], []

    def gradients() -> Iterator[dict[str, Tensor]]:
        for number in range(10):
            taken.append(number)
            yield {"a": torch.ones(2)}

    sample_gradients(method, gradients(), lambda done, total: told.append((done, total)))
    assert (taken, told) == ([0, 1], [(1, 2), (2, 2)])


@pytest.mark.parametrize("name", ["magnitude", "movement"])
def test_methods_without_a_fisher_matrix_take_no_gradient(name: str) -> None:
    def gradients() -> Iterator[dict[str, Tensor]]:
        pytest.fail("a gradient was computed for nothing")
        yield {}

    sample_gradients(build_method(name), gradients())


def test_too_few_gradients_are_refused() -> None:
    method = build_method("optimal_bert_surgeon", fisher=FisherOptions(num_gradients=3))
    with pytest.raises(SparsityError, match=r"samples 3 gradients .* ended after 1; repeat"):
        sample_gradients(method, [{"a": torch.ones(2)}])


def test_an_update_is_split_into_equal_parts_that_end_exactly() -> None:
    assert split_increase(0.5, 0.9, 1) == [0.9]
    assert split_increase(0.0, 0.9, 3) == [pytest.approx(0.3), pytest.approx(0.6), 0.9]
