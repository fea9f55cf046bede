import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsezoo_hub.core.learning_rates import Window, linear, rewinding

WINDOW = Window(start=40, end=100, interval=20)


@pytest.mark.parametrize(
    ("step", "expected"),
    # 200 steps, 10 of warm-up: P = 60, D = 200 - 60 - 10 = 130.
    [
        (0, 0.0),
        (5, 0.5),
        (10, 130 / 130),
        (40, 100 / 130),
        (59, 81 / 130),
        (60, 100 / 130),
        (80, 100 / 130),
        (99, 81 / 130),
        (100, 100 / 130),
        (200, 0.0),
    ],
)
def test_rewinding_goes_back_at_every_mask_update(step: int, expected: float) -> None:
    assert rewinding(step, total=200, warmup=10, window=WINDOW) == pytest.approx(expected)


def test_rewinding_needs_mask_updates() -> None:
    with pytest.raises(ValueError, match="pruning"):
        rewinding(0, total=10, warmup=0, window=None)


@given(
    total=st.integers(10, 300),
    warmup=st.integers(0, 9),
    start=st.integers(0, 8),
    share=st.floats(0.1, 1),
    interval=st.integers(1, 40),
    step=st.integers(0, 300),
)
def test_the_factor_stays_between_0_and_1(
    total: int, warmup: int, start: int, share: float, interval: int, step: int
) -> None:
    window = Window(start, max(start + 1, int(share * total)), interval)
    for schedule in (linear, rewinding):
        assert 0 <= schedule(min(step, total), total=total, warmup=warmup, window=window) <= 1


def test_linear_warms_up_and_ends_at_zero() -> None:
    factors = [linear(step, total=10, warmup=2) for step in range(11)]
    assert factors == pytest.approx([0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])


def test_a_window_updates_at_its_start_its_intervals_and_its_end() -> None:
    window = Window(start=3, end=10, interval=3)
    assert [step for step in range(15) if window.is_update(step)] == [3, 6, 9, 10]
