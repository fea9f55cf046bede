import numpy as np
import pytest
import torch
from torch import Tensor

from sparsezoo_hub.core.fisher import BlockFisher, FisherOptions, solve_groups, to_blocks
from sparsezoo_hub.errors import SparsityError


def numpy_inverse(gradients: np.ndarray, block_size: int, damping: float) -> np.ndarray:
    """The definition: pad, cut into blocks, average the outer products, add the damping, invert."""
    num_gradients, numel = gradients.shape
    padded = np.pad(gradients.astype(np.float64), ((0, 0), (0, -numel % block_size)))
    blocks = padded.reshape(num_gradients, -1, block_size)
    means = np.stack([blocks[:, each].T @ blocks[:, each] for each in range(blocks.shape[1])]) / num_gradients
    return np.linalg.inv(means + damping * np.eye(block_size))


def relative_error(found: Tensor, expected: np.ndarray) -> float:
    difference = np.linalg.norm(found.numpy() - expected, axis=(1, 2))
    return float((difference / np.linalg.norm(expected, axis=(1, 2))).max())


@pytest.mark.parametrize("damping", [1e-7, 1e-3])
@pytest.mark.parametrize(("shape", "block_size"), [((5, 20), 50), ((6, 21), 50), ((4, 9), 3), ((3, 5), 1)])
@pytest.mark.parametrize("num_gradients", [1, 3, 4, 9, 64, 257])
def test_the_inverse_is_that_of_numpy(
    num_gradients: int, shape: tuple[int, int], block_size: int, damping: float
) -> None:
    """With fewer gradients than weights, more, no multiple of what is gathered, and a ragged last block."""
    generator = torch.Generator().manual_seed(num_gradients)
    gradients = torch.randn(num_gradients, *shape, generator=generator) * 0.01
    options = FisherOptions(block_size, num_gradients, damping)
    fisher = BlockFisher(torch.empty(shape), options)
    for gradient in gradients:
        fisher.add(gradient)
    found = torch.cat([fisher.inverse(chunk) for chunk in fisher.chunks()])
    expected = numpy_inverse(gradients.flatten(1).numpy(), block_size, damping)
    assert relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("num_gradients", [8, 64, 1024])
def test_the_inverse_holds_for_large_correlated_gradients_at_the_papers_damping(num_gradients: int) -> None:
    """Where the recursion in float32 has no digit left: eigenvalues from 1e-7 to 1e3."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(num_gradients, 100, generator=generator) * torch.logspace(-1.5, 1.5, 100)
    gradients += torch.randn(num_gradients, 1, generator=generator)
    fisher = BlockFisher(torch.empty(100), FisherOptions(50, num_gradients))
    for gradient in gradients:
        fisher.add(gradient)
    expected = numpy_inverse(gradients.numpy(), 50, 1e-7)
    assert relative_error(fisher.inverse(slice(None)), expected) < 1e-4


def test_chunks_cover_every_block_once() -> None:
    fisher = BlockFisher(torch.empty(1201, 3), FisherOptions(block_size=3))
    covered = [index for chunk in fisher.chunks() for index in range(1201)[chunk]]
    assert covered == list(range(1201))
    assert fisher.num_blocks == 1201


def test_gradients_may_reuse_the_same_memory() -> None:
    fisher = BlockFisher(torch.empty(2), FisherOptions(2, 2, 1.0))
    gradient = torch.tensor([2.0, 0.0])
    fisher.add(gradient)
    gradient.copy_(torch.tensor([0.0, 4.0]))
    fisher.add(gradient)
    # (4 + 0) / 2 + 1 = 3 and (0 + 16) / 2 + 1 = 9
    torch.testing.assert_close(
        fisher.inverse(slice(None))[0], torch.tensor([[1 / 3, 0], [0, 1 / 9]]).double()
    )


def test_half_precision_gradients_are_summed_in_full() -> None:
    fisher = BlockFisher(torch.empty(1), FisherOptions(1, 1024, 1e-7))
    for _ in range(1024):
        fisher.add(torch.tensor([2.0**-10], dtype=torch.bfloat16))
    assert float(fisher.inverse(slice(None))) == pytest.approx(1 / (2.0**-20 + 1e-7))


def test_what_it_holds_is_the_inverse_and_less_than_five_times_the_weight() -> None:
    numel = 1000 * 50
    fisher = BlockFisher(torch.empty(1000, 50), FisherOptions())
    for _ in range(9):
        fisher.add(torch.zeros(1000, 50))
        held = sum(value.nbytes for value in vars(fisher).values() if isinstance(value, Tensor))
        inverse = 8 * numel * (50 + 1) / 2  # half of each block and its diagonal, in float64
        assert held < inverse + 5 * 4 * numel


def test_an_inverse_without_gradients_is_refused() -> None:
    with pytest.raises(SparsityError, match="no gradient was sampled"):
        BlockFisher(torch.empty(4), FisherOptions(2)).invert()


def test_an_inverted_matrix_takes_no_more_gradients() -> None:
    fisher = BlockFisher(torch.empty(4), FisherOptions(2))
    fisher.add(torch.ones(4))
    fisher.invert()
    with pytest.raises(RuntimeError, match="inverted, begin another"):
        fisher.add(torch.ones(4))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_is_refused(value: float) -> None:
    fisher = BlockFisher(torch.empty(4), FisherOptions(2))
    fisher.add(torch.tensor([0.0, 1.0, value, 0.0]))
    with pytest.raises(SparsityError, match="nan or inf; look for a loss that diverged"):
        fisher.invert()


def test_a_damping_that_drowns_is_refused_with_what_to_do() -> None:
    fisher = BlockFisher(torch.empty(4), FisherOptions(4, 1, 1e-12))
    fisher.add(torch.full((4,), 1e4))
    with pytest.raises(SparsityError, match=r"damping of 1e-12 beside gradients of up to 1e\+04; raise"):
        fisher.invert()


@pytest.mark.parametrize("options", [{"block_size": 0}, {"num_gradients": 0}, {"recomputations": 0}])
def test_an_option_below_one_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(
        ValueError, match=f"{next(iter(options))} of the Fisher matrix must be at least 1, got 0"
    ):
        FisherOptions(**options)


@pytest.mark.parametrize("damping", [0.0, -1.0, float("nan")])
def test_a_damping_that_is_not_positive_is_refused(damping: float) -> None:
    with pytest.raises(ValueError, match="damping of the Fisher matrix must be above 0"):
        FisherOptions(damping=damping)


def test_the_last_block_is_filled_up_with_zeros() -> None:
    assert to_blocks(torch.arange(1, 6).view(1, 5), 3).tolist() == [[1, 2, 3], [4, 5, 0]]


def test_a_group_is_solved_with_its_own_part_of_the_inverse() -> None:
    # Groups {0, 1} and {2, 3}; what lies between them plays no part.
    inverse = torch.tensor(
        [[2.0, 1.0, 9.0, 9.0], [1.0, 2.0, 9.0, 9.0], [9.0, 9.0, 4.0, 0.0], [9.0, 9.0, 0.0, 5.0]]
    )
    solved = solve_groups(inverse.unsqueeze(0), torch.tensor([[3.0, 3.0, 8.0, 10.0]]), 2)
    # [[2, 1], [1, 2]] x = [3, 3] gives [1, 1].
    torch.testing.assert_close(solved, torch.tensor([[1.0, 1.0, 2.0, 2.0]]))
    single = solve_groups(inverse.unsqueeze(0), torch.tensor([[3.0, 3.0, 8.0, 10.0]]), 1)
    torch.testing.assert_close(single, torch.tensor([[1.5, 1.5, 2.0, 2.0]]))
