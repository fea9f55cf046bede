from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_linear_schedule_with_warmup

from sparsezoo_hub.core.learning_rates import (
    LEARNING_RATES,
    NEEDS,
    Course,
    Restart,
    Window,
    cyclic,
    linear,
    restarted,
    rewinding,
)

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
    assert rewinding(step, Course(total=200, warmup=10, window=WINDOW)) == pytest.approx(expected)


def test_rewinding_needs_mask_updates() -> None:
    with pytest.raises(ValueError, match="pruning"):
        rewinding(0, Course(total=10, warmup=0, window=None))


@given(
    total=st.integers(11, 300),
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
    course = Course(total=total, warmup=warmup, window=window, cycle=interval, restarts=[Restart(warmup + 1)])
    for schedule in LEARNING_RATES.values():
        factor = schedule(min(step, total), course)
        assert 0 <= factor <= 1


def test_linear_warms_up_and_ends_at_zero() -> None:
    factors = [linear(step, Course(total=10, warmup=2)) for step in range(11)]
    assert factors == pytest.approx([0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])


def test_a_window_updates_at_its_start_its_intervals_and_its_end() -> None:
    window = Window(start=3, end=10, interval=3)
    assert [step for step in range(15) if window.is_update(step)] == [3, 6, 9, 10]


def of_transformers(steps: int, warmup: int) -> list[float]:
    """The factors of the linear schedule of transformers, an implementation of its own."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    factors = []
    for _ in range(steps):
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return factors


def test_linear_equals_that_of_transformers() -> None:
    course = Course(total=23, warmup=4)
    assert [linear(step, course) for step in range(23)] == pytest.approx(of_transformers(23, 4))


def test_a_cyclic_rate_falls_to_0_on_the_last_step_of_every_cycle() -> None:
    # Cycles of 5 steps, 1 - (step mod 5) / 4; the stage leaves 3 steps to the last one.
    whole = [1, 0.75, 0.5, 0.25, 0]
    factors = [cyclic(step, Course(total=13, cycle=5)) for step in range(14)]
    assert factors == pytest.approx([*whole, *whole, 1, 0.5, 0, 0])


def test_a_warm_up_shortens_the_first_cycle_and_leaves_the_others_where_they_are() -> None:
    factors = [cyclic(step, Course(total=10, warmup=2, cycle=5)) for step in range(10)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0, 1, 0.75, 0.5, 0.25, 0])


def test_a_warm_up_longer_than_a_cycle_ends_inside_a_later_one() -> None:
    factors = [cyclic(step, Course(total=8, warmup=5, cycle=4)) for step in range(8)]
    assert factors == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 0.5, 0])


def test_cycles_of_one_step_stay_at_the_peak_and_a_last_cycle_of_one_step_ends_at_0() -> None:
    assert [cyclic(step, Course(total=3, cycle=1)) for step in range(4)] == [1, 1, 1, 0]
    assert [cyclic(step, Course(total=5, cycle=2)) for step in range(5)] == [1, 0, 1, 0, 0]


@given(total=st.integers(2, 60), cycle=st.integers(2, 60))
def test_a_cyclic_rate_only_rises_where_a_cycle_begins(total: int, cycle: int) -> None:
    factors = [cyclic(step, Course(total=total, cycle=cycle)) for step in range(total)]
    assert factors[-1] == 0
    rises = [step for step, (one, other) in enumerate(pairwise(factors), start=1) if other > one]
    # A last cycle of a single step starts and ends at 0.
    assert rises == [step for step in range(cycle, total, cycle) if step != total - 1]


def test_restarts_are_linear_schedules_one_after_the_other() -> None:
    # Sparse*BERT's fine-tuning in 50 steps: restarts after a fifth and four fifths.
    course = Course(total=50, warmup=3, restarts=[Restart(10), Restart(40)])
    factors = [restarted(step, course) for step in range(51)]
    pieces = [*of_transformers(10, 3), *of_transformers(30, 0), *of_transformers(10, 0), 0]
    assert factors == pytest.approx(pieces)


def test_a_restart_may_go_higher_than_the_first_peak() -> None:
    # oBERTa's table 24 with a peak of 1e-5: from 5e-5 in the second half.
    rates = [1e-5 * restarted(step, Course(total=8, restarts=[Restart(4, factor=5.0)])) for step in range(9)]
    assert rates == pytest.approx([1e-5, 0.75e-5, 0.5e-5, 0.25e-5, 5e-5, 3.75e-5, 2.5e-5, 1.25e-5, 0])


@pytest.mark.parametrize("steps", [[5, 5], [6, 5], [2], [10], [11]])
def test_restarts_out_of_order_or_outside_the_stage_are_refused(steps: list[int]) -> None:
    with pytest.raises(ValueError, match=r"after the warm-up \(2 steps\) and before the stage's end \(10\)"):
        restarted(0, Course(total=10, warmup=2, restarts=[Restart(step) for step in steps]))


@pytest.mark.parametrize(("at", "factor"), [(0, 1.0), (-3, 1.0), (4, 0.0), (4, -1.0), (4, float("nan"))])
def test_a_restart_at_no_step_or_to_no_rate_is_refused(at: int, factor: float) -> None:
    with pytest.raises(ValueError, match="restart"):
        Restart(at, factor)


def test_a_cycle_below_one_step_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 step, got cycle 0"):
        cyclic(0, Course(total=10, cycle=0))


@pytest.mark.parametrize(
    ("schedule", "text"),
    [("rewinding", "stage needs pruning"), ("cyclic", "needs cycle"), ("restarts", "needs restarts")],
)
def test_a_schedule_without_what_it_needs_is_refused(schedule: str, text: str) -> None:
    assert schedule in NEEDS
    with pytest.raises(ValueError, match=text):
        LEARNING_RATES[schedule](0, Course(total=10))
