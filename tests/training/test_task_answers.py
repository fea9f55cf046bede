import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsezoo_hub.training.tasks.answers import (
    Answered,
    answer_metrics,
    best_threshold_mean,
    exact_match,
    normalized,
    word_f1,
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Denver Broncos!", "denver broncos"),
        ("  a  an the ", ""),
        ("theatre and Athens", "theatre and athens"),  # an article inside a word stays
        ("U.S.A.", "usa"),  # punctuation goes before words are told apart
        ("a.the", "athe"),
        ("24\N{EN DASH}10", "24\N{EN DASH}10"),  # only ASCII punctuation is removed
        ("ÉCOLE", "école"),
    ],
)
def test_answers_are_normalized_as_squads_official_script_does(answer: str, expected: str) -> None:
    assert normalized(answer) == expected


def test_f1_is_that_of_the_words_in_common() -> None:
    # 2 of 3 words and 2 of 4: 2 * 2 / (3 + 4)
    assert word_f1("the red big apple", "a big red apple tree") == pytest.approx(2 * 3 / (3 + 4))
    assert word_f1("big big apple", "big apple tree") == pytest.approx(
        2 * 2 / 6
    )  # a repeated word counts once
    assert word_f1("x", "y") == 0
    assert (word_f1("", "the"), word_f1("", "x")) == (1, 0)
    assert exact_match("The apple.", "apple") == 1


def test_the_best_of_several_gold_answers_counts() -> None:
    answered = [
        Answered("the cat", ("dog", "cat")),
        Answered("big cat", ("a cat", "big dog sled")),  # F1 2/3 and 2/5
    ]
    assert answer_metrics(answered, no_answer=False) == {
        "f1": pytest.approx((1 + 2 / 3) / 2),
        "exact_match": 0.5,
    }


def test_without_the_choice_of_no_answer_its_score_is_not_looked_at() -> None:
    assert answer_metrics([Answered("cat", ("cat",), 99.0)], no_answer=False)["exact_match"] == 1


def test_where_no_answer_scores_higher_none_is_given() -> None:
    answered = [
        Answered("cat", ("cat",), -1.0),  # answered, right
        Answered("cat", ("cat",), 1.0),  # not answered, wrong
        Answered("cat", (), 2.0),  # not answered, right
        Answered("cat", (), -2.0),  # answered, wrong
    ]
    found = answer_metrics(answered, no_answer=True)
    assert (found["exact_match"], found["f1"]) == (0.5, 0.5)
    # With a threshold between 1 and 2 the second is right too.
    assert (found["best_exact_match"], found["best_f1"]) == (0.75, 0.75)


ROWS = st.tuples(st.integers(-3, 3).map(float), st.floats(0, 1), st.sampled_from([0.0, 1.0]))


@given(st.lists(ROWS, min_size=1))
def test_the_best_threshold_is_the_best_of_all_thresholds(rows: list[tuple[float, float, float]]) -> None:
    scores, answered, empty = (list(column) for column in zip(*rows, strict=True))
    by_trying = max(
        sum(without if score > limit else given for score, given, without in rows) / len(rows)
        for limit in [float("-inf"), *scores]
    )
    assert best_threshold_mean(scores, answered, empty) == pytest.approx(by_trying)
