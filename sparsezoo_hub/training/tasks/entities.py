"""Entities: what a sequence of IOB tags marks, and precision, recall and F1 of a prediction."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"


class Entity(NamedTuple):
    """A run of words: the type (empty for untyped tags), the first word and the one behind the last."""

    type: str
    start: int
    end: int


def is_tag(tag: str) -> bool:
    """Return whether a tag is ``O``, ``B``, ``I``, ``B-type`` or ``I-type``."""
    prefix, dash, kind = tag.partition("-")
    return tag == OUTSIDE or (prefix in ("B", "I") and bool(dash) == bool(kind))


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of a sentence as conlleval and seqeval's default mode read them.

    An I- that continues no entity of its type begins one.
    """
    found: list[Entity] = []
    start, current = 0, None
    for index, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, kind = tag.partition("-")
        goes_on = prefix == "I" and kind == current
        if current is not None and not goes_on:
            found.append(Entity(current, start, index))
        if not goes_on:
            start, current = index, None if prefix == OUTSIDE else kind
    return found


def num_stray(tags: Sequence[str]) -> int:
    """Return how many I- tags continue no entity of their type."""
    before = [OUTSIDE, *tags]
    return sum(
        tag[0] == "I" and (previous == OUTSIDE or previous.partition("-")[2] != tag.partition("-")[2])
        for previous, tag in zip(before, tags, strict=False)
    )


def entity_metrics(sentences: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, float]:
    """Return ``f1``, ``precision`` and ``recall`` over all entities (micro), each in [0, 1].

    An entity is right if its type and both of its ends are. Without any predicted entity, precision and F1
    are 0; without any in the gold tags F1 is undefined, and must have been refused before.

    Args:
        sentences: the gold and the predicted tags of each.
    """
    right = num_gold = num_predicted = 0
    for gold_tags, predicted_tags in sentences:
        gold, predicted = find_entities(gold_tags), find_entities(predicted_tags)
        right += len(set(gold) & set(predicted))
        num_gold += len(gold)
        num_predicted += len(predicted)
    return {
        "f1": 2 * right / max(num_gold + num_predicted, 1),
        "precision": right / max(num_predicted, 1),
        "recall": right / max(num_gold, 1),
    }
