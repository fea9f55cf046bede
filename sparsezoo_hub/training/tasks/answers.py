"""Answers: exact match and F1 of answers to questions, as SQuAD's official evaluation defines them.

Rajpurkar et al. 2016, section 6.1 (v1.1) and 2018, section 2 (v2, questions without an answer).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Answered:
    """A question that was answered.

    Args:
        answer: the best one that is not empty.
        gold: the right ones; none if the context has no answer.
        no_answer_score: of the empty answer, above that of ``answer`` (logits); positive: rather no answer.
    """

    answer: str
    gold: tuple[str, ...]
    no_answer_score: float = float("-inf")


def normalized(answer: str) -> str:
    """Return an answer in lower case, without punctuation and articles, single spaces between its words."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    """Return 1 if both are the same when normalized, else 0."""
    return float(normalized(answer) == normalized(gold))


def word_f1(answer: str, gold: str) -> float:
    """Return F1 over the words, in [0, 1]; if either has no word, whether neither has."""
    words, gold_words = normalized(answer).split(), normalized(gold).split()
    if not words or not gold_words:
        return float(words == gold_words)
    common = sum((Counter(words) & Counter(gold_words)).values())
    return 2 * common / (len(words) + len(gold_words))


def answer_metrics(answered: Sequence[Answered], no_answer: bool) -> dict[str, float]:
    """Return ``exact_match`` and ``f1``, means over the questions of the best gold answer's, in [0, 1].

    Args:
        answered: every question of the data set.
        no_answer: whether a question may have none (v2). Then the empty answer is given where its score is
            the higher one, and ``best_exact_match`` and ``best_f1`` are those at the best threshold of the
            score instead of 0, found on these very questions as the official evaluation does.
    """
    metrics: dict[str, float] = {}
    for name, measure in (("f1", word_f1), ("exact_match", exact_match)):
        scores = [_best(measure, each.answer, each.gold) for each in answered]
        if no_answer:
            empty = [_best(measure, "", each.gold) for each in answered]
            metrics[f"best_{name}"] = best_threshold_mean(
                [each.no_answer_score for each in answered], scores, empty
            )
            scores = [
                without if each.no_answer_score > 0 else given
                for each, given, without in zip(answered, scores, empty, strict=True)
            ]
        metrics[name] = sum(scores) / len(scores)
    return metrics


def best_threshold_mean(
    no_answer_scores: Sequence[float], answered: Sequence[float], empty: Sequence[float]
) -> float:
    """Return the highest mean over all thresholds above which a question's answer is taken to be empty.

    Args:
        no_answer_scores: of each question.
        answered: what each question's answer is worth.
        empty: what the empty answer is worth instead.
    """
    total = best = sum(empty)
    gains: dict[float, float] = {}
    for score, given, without in zip(no_answer_scores, answered, empty, strict=True):
        gains[score] = gains.get(score, 0.0) + given - without
    for score in sorted(gains):  # equal scores fall on the same side of any threshold
        total += gains[score]
        best = max(best, total)
    return best / len(answered)


def _best(measure: Callable[[str, str], float], answer: str, gold: tuple[str, ...]) -> float:
    # A gold answer that is nothing but articles and punctuation counts as none, as in the official one.
    right = [each for each in gold if normalized(each)] or [""]
    return max(measure(answer, each) for each in right)
