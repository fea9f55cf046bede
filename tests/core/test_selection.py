import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn
from torch.nn.utils import prune

from sparsezoo_hub.core.selection import SCOPES, select_masks
from sparsezoo_hub.core.sparsity_schedules import cubic
from sparsezoo_hub.core.structures import STRUCTURES, parse_structure
from sparsezoo_hub.errors import MaskError, SparsityError

UNSTRUCTURED, TWO_OF_FOUR, BLOCKS = STRUCTURES["unstructured"], STRUCTURES["2:4"], STRUCTURES["1x4"]
SHAPES = {"a": (6, 8), "b": (4, 16), "c": (1, 4)}
NUMEL = {"a": 48, "b": 64, "c": 4}


def random_scores(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) for name, shape in SHAPES.items()}


def num_zeros(masks: dict[str, Tensor]) -> dict[str, int]:
    return {name: int((~mask).sum()) for name, mask in masks.items()}


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_global_masks_equal_those_of_torch_prune(sparsity: float) -> None:
    torch.manual_seed(0)
    layers = {name: nn.Linear(*reversed(shape)) for name, shape in {**SHAPES, "big": (300, 301)}.items()}
    weights = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()], prune.L1Unstructured, amount=sparsity
    )
    masks = select_masks({name: each.abs() for name, each in weights.items()}, sparsity, scope="global")
    for name, layer in layers.items():
        assert torch.equal(masks[name], layer.weight_mask.bool())


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
def test_uniform_masks_equal_those_of_torch_prune(sparsity: float) -> None:
    layer = nn.Linear(301, 300)
    masks = select_masks({"a": layer.weight.abs(), "b": torch.rand(2, 2)}, sparsity, scope="uniform")
    expected = prune.l1_unstructured(layer, "weight", amount=sparsity).weight_mask.bool()
    assert torch.equal(masks["a"], expected)


def test_global_ties_are_kept_in_the_order_of_the_components() -> None:
    masks = select_masks({"z": torch.ones(1, 4), "a": torch.ones(1, 4)}, 0.75, scope="global")
    assert masks["z"].tolist() == [[True, True, False, False]]
    assert masks["a"].tolist() == [[False] * 4]


def test_two_of_four_keeps_the_two_highest_of_each_group() -> None:
    scores = torch.tensor(
        [[4.0, 1.0, 3.0, 2.0, 0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 1.0, 1.0, 9.0, 8.0, 8.0, 8.0]]
    )
    masks = select_masks({"a": scores}, 0.5, structure=TWO_OF_FOUR)
    assert masks["a"].int().tolist() == [[1, 0, 1, 0, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1, 0, 0]]


def test_two_of_four_on_its_way_prunes_the_lowest_that_can_go() -> None:
    # 0.3 and 0.4 are lower than 1.0, but their group has lost its two.
    scores = torch.tensor([[4.0, 1.0, 3.0, 2.0, 0.1, 0.2, 0.3, 0.4]])
    masks = select_masks({"a": scores}, 3 / 8, structure=TWO_OF_FOUR)
    assert masks["a"].int().tolist() == [[1, 0, 1, 1, 0, 0, 1, 1]]


def test_blocks_go_by_the_sum_of_their_scores() -> None:
    scores = torch.tensor(
        [[0.0, 0.0, 0.0, 9.0, 1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0, 0.0, 3.0, 0.0, 0.0]]
    )
    masks = select_masks({"a": scores}, 0.5, structure=BLOCKS)
    assert masks["a"].int().tolist() == [[1] * 4 + [0] * 4, [1] * 4 + [0] * 4]


@given(
    seed=st.integers(0, 10_000),
    sparsity=st.floats(0, 0.99),
    scope=st.sampled_from(sorted(SCOPES)),
    name=st.sampled_from(["unstructured", "1x4", "1x2", "2:4", "1:4", "1:2"]),
)
def test_the_count_is_exact_under_every_structure_and_scope(
    seed: int, sparsity: float, scope: str, name: str
) -> None:
    structure = parse_structure(name)
    sparsity *= float(structure.max_sparsity)
    found = num_zeros(select_masks(random_scores(seed), sparsity, scope=scope, structure=structure))
    block = structure.block
    if scope == "global":
        assert sum(found.values()) == block * round(sum(NUMEL.values()) // block * sparsity)
    else:
        assert found == {each: block * round(numel // block * sparsity) for each, numel in NUMEL.items()}


@given(
    seed=st.integers(0, 10_000),
    final=st.floats(0.1, 0.99),
    scope=st.sampled_from(sorted(SCOPES)),
    name=st.sampled_from(["unstructured", "1x4", "2:4", "1:4", "3:8"]),
)
def test_nothing_comes_back_while_a_cubic_schedule_prunes(
    seed: int, final: float, scope: str, name: str
) -> None:
    structure = parse_structure(name)
    components = {each: scores for each, scores in random_scores(seed).items() if each != "c"}
    final = final * float(structure.max_sparsity)
    units = {each: NUMEL[each] // structure.block for each in components}
    kept: dict[str, Tensor] | None = None
    for step in range(6):
        sparsity = cubic(step, start=0, end=5, initial=0.05, final=final)
        scores = {each: tensor[:, torch.randperm(tensor.shape[1])] for each, tensor in components.items()}
        masks = select_masks(scores, sparsity, scope=scope, structure=structure, kept=kept)
        if kept is not None:
            assert all(not (masks[each] & ~kept[each]).any() for each in masks)
        if scope == "global":
            assert sum(num_zeros(masks).values()) == structure.block * round(sum(units.values()) * sparsity)
        else:
            expected = {each: structure.block * round(num * sparsity) for each, num in units.items()}
            assert num_zeros(masks) == expected
        for mask in masks.values():
            assert int((~mask).view(-1, structure.group).sum(1).max()) <= max(
                structure.max_zeros, structure.block
            )
            blocks = mask.view(-1, structure.block)
            assert torch.equal(blocks.any(1), blocks.all(1))
        kept = masks


@given(
    scores=arrays.arrays(np.float32, (3, 8), elements=st.sampled_from([0.0, 0.5, 1.0, -np.inf])),
    earlier=arrays.arrays(np.bool_, (3, 8)),
)
def test_at_its_limit_every_group_of_a_structure_has_its_zeros(
    scores: np.ndarray, earlier: np.ndarray
) -> None:
    """Even from masks that were made without the structure, and from ties."""
    kept = torch.from_numpy(earlier)
    masks = select_masks(
        {"a": torch.from_numpy(scores)}, 0.5, structure=TWO_OF_FOUR, kept={"a": kept}, scope="global"
    )
    expected = (~kept).view(-1, 4).sum(1).clamp(min=2)
    assert (~masks["a"]).view(-1, 4).sum(1).tolist() == expected.tolist()
    assert not (masks["a"] & ~kept).any()


def test_more_zeros_than_asked_for_stay() -> None:
    kept = {"a": torch.tensor([[False, False, False, True]])}
    masks = select_masks({"a": torch.tensor([[4.0, 3.0, 2.0, 1.0]])}, 0.25, kept=kept)
    assert masks["a"].tolist() == kept["a"].tolist()


def test_a_pruned_weight_stays_pruned_where_a_kept_one_scores_minus_infinity() -> None:
    kept = {"a": torch.tensor([[False, True]])}
    masks = select_masks({"a": torch.tensor([[1.0, -torch.inf]])}, 0.5, kept=kept)
    assert masks["a"].tolist() == [[False, True]]


def test_the_scores_and_the_earlier_masks_are_left_alone() -> None:
    scores, kept = random_scores(0), {name: torch.rand(shape) > 0.1 for name, shape in SHAPES.items()}
    copies = {name: (scores[name].clone(), kept[name].clone()) for name in SHAPES}
    for structure in STRUCTURES.values():
        select_masks(scores, 0.4, structure=structure, kept=kept)
    for name, (old_scores, old_kept) in copies.items():
        assert torch.equal(scores[name], old_scores)
        assert torch.equal(kept[name], old_kept)


def test_what_the_structure_cannot_reach_is_refused() -> None:
    with pytest.raises(SparsityError, match=r"at most 0\.5"):
        select_masks(random_scores(0), 0.75, structure=TWO_OF_FOUR)


def test_an_unknown_scope_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown scope 'gobal'.*did you mean 'global'"):
        select_masks(random_scores(0), 0.5, scope="gobal")


def test_earlier_masks_of_other_components_are_refused() -> None:
    kept = {"a": torch.ones(6, 8, dtype=torch.bool)}
    with pytest.raises(MaskError, match="1 earlier masks do not fit 3 components: b is only among the comp"):
        select_masks(random_scores(0), 0.5, kept=kept)


@pytest.mark.parametrize("mask", [torch.ones(8, 6, dtype=torch.bool), torch.ones(6, 8)])
def test_earlier_masks_of_another_shape_or_type_are_refused(mask: Tensor) -> None:
    with pytest.raises(MaskError, match=r"the earlier mask of a is .* must be bool and of the same shape"):
        select_masks({"a": torch.rand(6, 8)}, 0.5, kept={"a": mask})


@pytest.mark.parametrize("scope", SCOPES)
def test_no_components_have_no_masks(scope: str) -> None:
    assert select_masks({}, 0.5, scope=scope) == {}
