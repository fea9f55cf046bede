from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsezoo_hub.training.tasks.entities import (
    Entity,
    entity_metrics,
    find_entities,
    is_tag,
    num_stray,
)

TAGS = st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"])


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("", []),
        ("O O", []),
        ("B-X", [("X", 0, 1)]),
        ("O B-X I-X O", [("X", 1, 3)]),
        ("B-X B-X", [("X", 0, 1), ("X", 1, 2)]),
        ("B-X I-Y I-Y", [("X", 0, 1), ("Y", 1, 3)]),  # another type ends one and begins one
        ("O I-X I-X", [("X", 1, 3)]),  # I- after O, as conlleval reads it
        ("B I O I", [("", 0, 2), ("", 3, 4)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),  # a type may have a dash
    ],
)
def test_entities_are_those_that_conlleval_reads(tags: str, entities: list[Entity]) -> None:
    assert find_entities(tags.split()) == entities


@given(st.lists(TAGS))
def test_entities_cover_exactly_the_words_that_are_not_outside(tags: list[str]) -> None:
    covered = [word for entity in find_entities(tags) for word in range(entity.start, entity.end)]
    assert covered == [word for word, tag in enumerate(tags) if tag != "O"]


@given(st.lists(TAGS))
def test_every_entity_begins_with_a_b_or_a_stray_i(tags: list[str]) -> None:
    begins = sum(tag[0] == "B" for tag in tags)
    assert len(find_entities(tags)) == begins + num_stray(tags)


def test_a_stray_i_continues_no_entity_of_its_type() -> None:
    assert num_stray(["I-X", "O", "I-X", "I-X", "B-Y", "I-X", "I-X", "B-X", "I-X"]) == 3


@pytest.mark.parametrize(("tag", "valid"), [("O", True), ("B", True), ("I-GENE", True), ("B-", False)])
def test_iob_tags(tag: str, valid: bool) -> None:
    assert is_tag(tag) is valid
    assert not is_tag("S-GENE")
    assert not is_tag("GENE")


def test_f1_counts_entities_and_not_words() -> None:
    gold = ["B-X", "I-X", "O", "B-Y", "O", "B-X"]
    predicted = ["B-X", "I-X", "O", "B-X", "O", "O"]  # right; another type; missed
    found = entity_metrics([(gold, predicted), (["B-X", "I-X"], ["B-X", "O"])])  # a wrong end
    # 4 in the gold tags, 3 predicted, 1 right.
    assert found == {"f1": pytest.approx(2 / 7), "precision": 1 / 3, "recall": 1 / 4}


def test_a_model_that_marks_nothing_has_an_f1_of_0() -> None:
    assert entity_metrics([(["B-X"], ["O"])]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


@given(st.lists(st.lists(st.tuples(TAGS, TAGS), min_size=1), min_size=1))
def test_f1_is_that_of_seqeval(sentences: list[list[tuple[str, str]]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics")  # an oracle where it is installed; it is no longer kept
    gold: list[Sequence[str]] = [[one for one, _ in each] for each in sentences]
    predicted: list[Sequence[str]] = [[other for _, other in each] for each in sentences]
    found = entity_metrics(zip(gold, predicted, strict=True))["f1"]
    assert found == pytest.approx(metrics.f1_score(gold, predicted, zero_division=0))
