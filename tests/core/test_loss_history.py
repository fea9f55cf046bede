import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsezoo_hub.core.loss_history import LossBounds, LossHistory, loss_bounds
from sparsezoo_hub.core.recipe import Stage

BOUNDS = LossBounds(guessing=10.0, exploded=20.0)


def stage(kind: str, **more: object) -> Stage:
    common = {"name": "a", "model": "b", "data": "c", "max_length": 16, "steps": 9, "batch_size": 4}
    return Stage.model_validate(
        {**common, "objective": {"kind": kind}, "learning_rate": {"peak": 1e-3}, **more}
    )


def history(learned: float | None = None) -> LossHistory:
    """A history that has seen 30 losses, up to step 300."""
    made = LossHistory(BOUNDS)
    if learned is not None:
        for step in range(10, 310, 10):
            assert made.look(step, learned) is None
    return made


def stopped_at(made: LossHistory, start: int, loss: float, until: int = 2000) -> int | None:
    return next((step for step in range(start, until, 10) if made.look(step, loss) is not None), None)


@pytest.mark.parametrize(
    ("kind", "guessing"),
    [
        ("masked_lm", math.log(1000)),
        ("masked_lm_next_sentence", math.log(1000) + math.log(2)),
        ("sequence_classification", math.log(3)),
        ("token_classification", math.log(3)),
        ("question_answering", math.log(16)),  # one of the 16 positions
    ],
)
def test_guessing_costs_the_logarithm_of_the_classes(kind: str, guessing: float) -> None:
    bounds = loss_bounds(stage(kind), vocab_size=1000, num_labels=3)
    heads = 2 if kind == "masked_lm_next_sentence" else 1
    assert bounds == LossBounds(pytest.approx(guessing), pytest.approx(guessing + 10 * heads))


def test_distillation_weighs_with_the_square_of_its_temperature() -> None:
    taught = stage(
        "masked_lm",
        teacher="t",
        distillation={"lambda_pt": 0.5, "lambda_kd": 2.0, "temperature": 3.0, "hidden_states": 0.1},
    )
    bounds = loss_bounds(taught, vocab_size=1000, num_labels=2)
    weight = 0.5 + 2 * 9
    assert bounds.guessing == pytest.approx(weight * math.log(1000) + 1)
    assert bounds.exploded == pytest.approx(weight * (math.log(1000) + 10) + 1)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_found_at_once(loss: float) -> None:
    made = history(learned=2.0)
    assert made.look(310, loss) == f"the loss is {loss}"
    assert made.healthy_until == 300


@pytest.mark.parametrize("learned", [None, 2.0, 9.9])
def test_a_loss_far_above_guessing_has_exploded_after_50_steps(learned: float | None) -> None:
    made = history(learned)
    last = 0 if learned is None else 300
    assert stopped_at(made, last + 10, 20.1) == last + 50
    assert made.healthy_until == last


def test_a_spike_of_less_than_50_steps_is_healthy_however_high() -> None:
    made = history(learned=2.0)
    for step in range(310, 350, 10):
        assert made.look(step, 1e9) is None
    assert made.healthy_until == 300
    assert made.look(350, 2.5) is None
    assert made.healthy_until == 350


def test_what_was_learnt_is_lost_after_500_steps_above_the_middle() -> None:
    made = history(learned=2.0)
    assert made.bound == (2.0 + 10.0) / 2
    assert stopped_at(made, 310, 6.1) == 800
    assert stopped_at(history(learned=2.0), 310, 5.9) is None


def test_a_model_that_guesses_has_nothing_to_lose() -> None:
    assert history(learned=5.1).bound == BOUNDS.exploded  # more than half of guessing
    assert stopped_at(history(learned=9.9), 310, 11.0) is None
    assert history(learned=None).bound == BOUNDS.exploded


def test_after_a_jump_with_a_known_cause_the_higher_loss_is_healthy() -> None:
    made = history(learned=1.0)
    made.forget()
    assert stopped_at(made, 310, 8.0) is None


def test_the_median_is_of_the_last_healthy_losses() -> None:
    made = history(learned=4.0)
    for step in range(310, 1320, 10):  # 101 more
        made.look(step, 2.0)
    assert made.bound == 6.0
    made.look(1320, 7.0)
    assert made.bound == 6.0


@given(
    st.lists(st.sampled_from([0.5, 2.0, 6.0, 9.0, 30.0]), min_size=1, max_size=120),
    st.integers(0, 120),
)
def test_a_history_that_was_written_and_read_judges_like_the_one_that_was_not(
    losses: list[float], cut: int
) -> None:
    whole, parts = LossHistory(BOUNDS), LossHistory(BOUNDS)
    for number, loss in enumerate(losses, start=1):
        if number == cut:
            text = json.dumps(parts.state())
            parts = LossHistory(BOUNDS)
            parts.restore(json.loads(text))
        assert whole.look(10 * number, loss) == parts.look(10 * number, loss)
    assert whole.state() == parts.state()
