import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn.utils import prune

from sparsezoo_hub.core.masks import mask_digest, num_zeros, pack_mask, sparsity_of, top_k_mask, unpack_mask
from sparsezoo_hub.errors import MaskError, SparsityError

shapes = arrays.array_shapes(min_dims=1, max_dims=3, max_side=12)
masks = arrays.arrays(np.bool_, shapes)
sparsities = st.floats(0, 0.999)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(7, 5), (64, 32), (1, 1)])
def test_magnitude_masks_equal_those_of_torch_prune(sparsity: float, shape: tuple[int, int]) -> None:
    layer = torch.nn.Linear(shape[1], shape[0])
    expected = prune.l1_unstructured(layer, "weight", amount=sparsity).weight_mask.bool()
    assert torch.equal(top_k_mask(layer.weight_orig.abs(), sparsity), expected)


@given(
    scores=arrays.arrays(np.float32, shapes, elements=st.sampled_from([0.0, 0.5, 1.0])), sparsity=sparsities
)
def test_the_count_is_exact_whatever_the_ties(scores: np.ndarray, sparsity: float) -> None:
    mask = top_k_mask(torch.from_numpy(scores), sparsity)
    assert int((~mask).sum()) == round(scores.size * sparsity)


@given(
    scores=arrays.arrays(np.float32, shapes, elements=st.floats(-4, 4, width=32)),
    first=sparsities,
    second=sparsities,
)
def test_what_was_pruned_stays_pruned(scores: np.ndarray, first: float, second: float) -> None:
    earlier = top_k_mask(torch.from_numpy(scores), first)
    later = top_k_mask(torch.from_numpy(scores[::-1].copy()), second, kept=earlier)
    assert not (later & ~earlier).any()
    assert int((~later).sum()) == max(round(scores.size * first), round(scores.size * second))


def test_ties_go_to_the_lower_index() -> None:
    mask = top_k_mask(torch.tensor([1.0, 2.0, 1.0, 1.0]), 0.5)
    assert mask.tolist() == [True, True, False, False]


def test_infinite_scores_are_ordered() -> None:
    mask = top_k_mask(torch.tensor([-torch.inf, 1.0, torch.inf, 0.0]), 0.5)
    assert mask.tolist() == [False, True, True, False]


def test_nan_scores_are_refused() -> None:
    with pytest.raises(MaskError, match="nan"):
        top_k_mask(torch.tensor([1.0, float("nan")]), 0.5)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 90, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(sparsity: float) -> None:
    with pytest.raises(SparsityError, match=r"\[0, 1\)"):
        num_zeros(10, sparsity)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(MaskError, match=r"\(2, 3\).*\(3, 2\)"):
        top_k_mask(torch.zeros(3, 2), 0.5, kept=torch.ones(2, 3, dtype=torch.bool))


@given(masks)
def test_packed_bits_are_those_of_numpy_and_unpack_again(mask: np.ndarray) -> None:
    packed = pack_mask(torch.from_numpy(mask))
    assert packed.tolist() == np.packbits(mask.ravel(), bitorder="little").tolist()
    assert torch.equal(unpack_mask(packed, mask.shape), torch.from_numpy(mask))


def test_nine_entries_take_two_bytes_lowest_bit_first() -> None:
    mask = torch.tensor([True, False, False, False, False, False, False, True, True])
    assert pack_mask(mask).tolist() == [0b10000001, 0b1]


def test_bits_after_the_last_entry_are_refused() -> None:
    with pytest.raises(MaskError, match="after its last entry"):
        unpack_mask(torch.tensor([0b1000], dtype=torch.uint8), (3,))


def test_a_wrong_number_of_bytes_is_refused() -> None:
    with pytest.raises(MaskError, match="takes 2 bytes"):
        unpack_mask(torch.zeros(3, dtype=torch.uint8), (3, 3))


def test_the_digest_follows_name_shape_and_bits_but_not_order() -> None:
    one, other = torch.tensor([[True, False]]), torch.tensor([[True, True]])
    digest = mask_digest({"a": one, "b": other})
    assert digest == mask_digest({"b": other, "a": one})
    different = [
        {"a": other, "b": one},
        {"a": one, "c": other},
        {"a": one.T, "b": other},
        {"a": one},
    ]
    assert digest not in {mask_digest(each) for each in different}
    assert len({mask_digest(each) for each in different}) == 4


def test_sparsity_is_weighted_by_size() -> None:
    few, many = torch.zeros(2, dtype=torch.bool), torch.ones(8, dtype=torch.bool)
    assert sparsity_of({"few": few, "many": many}) == pytest.approx(0.2)
    assert sparsity_of({}) == 0.0


def test_a_pruned_weight_stays_pruned_where_a_kept_one_scores_minus_infinity() -> None:
    mask = top_k_mask(torch.tensor([1.0, -torch.inf]), 0.5, kept=torch.tensor([False, True]))
    assert mask.tolist() == [False, True]
