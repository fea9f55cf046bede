from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.ao.pruning import CubicSL

from sparsezoo_hub.core.sparsity_schedules import cubic


@given(
    final=st.floats(0, 0.99),
    share=st.floats(0, 1),
    start=st.integers(0, 50),
    length=st.integers(1, 50),
)
def test_the_cubic_ramp_is_monotone_and_hits_both_ends(
    final: float, share: float, start: int, length: int
) -> None:
    initial = final * share
    ramp = [
        cubic(step, start=start, end=start + length, initial=initial, final=final)
        for step in range(start + length + 10)
    ]
    assert all(earlier <= later + 1e-12 for earlier, later in pairwise(ramp))
    assert ramp[start] == initial
    assert ramp[start + length] == ramp[-1] == final


@pytest.mark.filterwarnings("ignore")  # torch.ao announces its move to torchao
@pytest.mark.parametrize("step", range(0, 61, 3))
def test_the_cubic_ramp_equals_that_of_torch(step: int) -> None:
    # CubicSL needs a sparsifier only for its groups; the formula is a static function of the step.
    expected = CubicSL.sparsity_compute_fn(s_0=0.3, s_f=0.9, t=step, t_0=10, dt=2, n=20, initially_zero=False)
    assert cubic(step, start=10, end=50, initial=0.3, final=0.9) == pytest.approx(expected, abs=1e-12)


def test_half_way_the_cubic_ramp_has_an_eighth_left() -> None:
    assert cubic(50, start=0, end=100, initial=0.0, final=0.8) == pytest.approx(0.8 - 0.8 / 8)
