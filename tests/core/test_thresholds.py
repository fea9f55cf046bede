import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsezoo_hub.core import thresholds
from sparsezoo_hub.core.thresholds import kth_smallest, lowest
from sparsezoo_hub.errors import MaskError

# Few distinct values, so that most thresholds are ties, and both infinities.
scores = arrays.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 0.5, np.inf]) | st.floats(-2, 2, width=32),
)


@pytest.fixture(params=[1, 1 << 16], ids=["bracketed", "ranked at once"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "_RANKED_AT_ONCE", request.param)
    monkeypatch.setattr(thresholds, "_SAMPLE_SIZE", 8)
    monkeypatch.setattr(thresholds, "_MARGIN", 0.5)  # narrow: the threshold is often outside


@pytest.mark.usefixtures("_either_way")
@settings(max_examples=300)
@given(tensors=st.lists(scores, min_size=1, max_size=4), data=st.data())
def test_the_lowest_are_those_of_a_stable_sort(tensors: list[np.ndarray], data: st.DataObject) -> None:
    joined = np.concatenate(tensors)
    candidates = data.draw(arrays.arrays(np.bool_, joined.size))
    count = data.draw(st.integers(0, int(candidates.sum())))
    # The last index goes first, so the array is sorted from its end.
    order = [
        index for index in joined.size - 1 - np.argsort(joined[::-1], kind="stable") if candidates[index]
    ]
    expected = np.zeros(joined.size, dtype=bool)
    expected[order[:count]] = True
    ends = np.cumsum([each.size for each in tensors])[:-1]
    found = lowest(
        [torch.from_numpy(each) for each in tensors],
        [torch.from_numpy(each) for each in np.split(candidates, ends)],
        count,
    )
    assert torch.cat(found).tolist() == expected.tolist()


@pytest.mark.parametrize("k", [1, 2, 5_000, 250_000, 499_999, 500_000])
@pytest.mark.parametrize("kind", ["normal", "sorted", "nearly all zero", "equal"])
def test_the_threshold_over_many_weights_is_that_of_a_sort(kind: str, k: int) -> None:
    values = torch.randn(500_000, generator=torch.Generator().manual_seed(0))
    if kind == "sorted":
        values = values.sort().values
    elif kind == "nearly all zero":
        values[1000:] = 0.0
    elif kind == "equal":
        values = torch.ones_like(values)
    expected = np.sort(values.numpy())[k - 1]
    assert kth_smallest(list(values.split([100_000, 1, 399_999])), [None] * 3, k) == expected


def test_a_few_candidates_among_many_are_found() -> None:
    values = torch.arange(200_000, dtype=torch.float32)
    candidate = torch.zeros(200_000, dtype=torch.bool)
    candidate[[4, 9]] = True
    assert kth_smallest([values], [candidate], 2) == 9.0


def test_low_precision_is_compared_in_the_higher_one() -> None:
    low, high = torch.tensor([0.5, 1.0], dtype=torch.bfloat16), torch.tensor([0.5001, 0.4999])
    found = lowest([low, high], [None, None], 2)
    assert [each.tolist() for each in found] == [[True, False], [False, True]]


@pytest.mark.parametrize("count", [3, -1])
def test_more_than_there_are_cannot_be_chosen(count: int) -> None:
    with pytest.raises(MaskError, match=rf"{count} weights shall be chosen among 2 candidates; ask for"):
        lowest([torch.zeros(3)], [torch.tensor([True, False, True])], count)


def test_nan_in_any_tensor_is_refused() -> None:
    with pytest.raises(MaskError, match=r"nan.*diverged"):
        lowest([torch.zeros(2), torch.tensor([0.0, torch.nan])], [None, None], 1)
