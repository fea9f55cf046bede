from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.ao.pruning import CubicSL

from sparsezoo_hub.core.sparsity_schedules import SPARSITY_SCHEDULES, constant, cubic, one_shot


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
@pytest.mark.parametrize(("initial", "final"), [(0.3, 0.9), (0.0, 0.85), (0.7, 0.7)])
def test_the_cubic_ramp_equals_that_of_torch_at_every_step(initial: float, final: float) -> None:
    for step in range(70):
        # CubicSL needs a sparsifier only for its groups; the formula is a static function of the step.
        expected = CubicSL.sparsity_compute_fn(
            s_0=initial, s_f=final, t=step, t_0=10, dt=2, n=20, initially_zero=False
        )
        assert cubic(step, start=10, end=50, initial=initial, final=final) == pytest.approx(
            expected, abs=1e-12
        )


def test_half_way_the_cubic_ramp_has_an_eighth_left() -> None:
    assert cubic(50, start=0, end=100, initial=0.0, final=0.8) == pytest.approx(0.8 - 0.8 / 8)


def test_one_shot_prunes_everything_at_the_start() -> None:
    sparsities = [one_shot(step, start=3, end=9, initial=0.2, final=0.8) for step in range(6)]
    assert sparsities == [0.2, 0.2, 0.2, 0.8, 0.8, 0.8]


def test_constant_is_the_final_sparsity_from_the_first_step_on() -> None:
    assert {constant(step, start=3, end=9, initial=0.2, final=0.8) for step in range(12)} == {0.8}


@given(
    name=st.sampled_from(sorted(SPARSITY_SCHEDULES)),
    final=st.floats(0, 0.99),
    share=st.floats(0, 1),
    start=st.integers(0, 20),
    length=st.integers(1, 20),
)
def test_no_schedule_prunes_less_later_or_misses_its_final_sparsity(
    name: str, final: float, share: float, start: int, length: int
) -> None:
    sparsities = [
        SPARSITY_SCHEDULES[name](step, start=start, end=start + length, initial=final * share, final=final)
        for step in range(start + length + 1)
    ]
    assert all(earlier <= later + 1e-12 for earlier, later in pairwise(sparsities))
    assert sparsities[-1] == final
