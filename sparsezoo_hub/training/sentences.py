"""Sentences: a text cut where sentences end, by punctuation alone."""

import re

# Full stops and their like, with the quotes and brackets that close after them, before a space; or the
# stops of Chinese and Japanese, which no space follows. A match begins where a run of stops begins, so that
# a long run without a space is looked at once.
_END = re.compile(
    r"(?<![.!?\u2026])[.!?\u2026]+[\"'\u2019\u201d\u00bb)\]]*\s+|[\u3002\uff01\uff1f]+[\u2019\u201d\u300d\u300f\uff09]*\s*"
)
_OPENING = "\"'\u2018\u201c\u00ab([\u00bf\u00a1"
_LAST_WORD = re.compile(r"(?:^|[^\w.])(\w+(?:\.\w+)*)$")
_LONGEST_ABBREVIATION = 10
# Those that a capital or a number often follows; others rarely stand before one.
_ABBREVIATIONS = frozenset(
    {"al", "approx", "capt", "cf", "col", "dr", "e.g", "eq", "fig", "figs", "gen", "i.e", "jr", "lt"}
    | {"messrs", "mr", "mrs", "ms", "mt", "no", "nos", "pp", "prof", "ref", "refs", "rev", "sec", "sgt"}
    | {"st", "vol", "vs"}
)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, in order; together they hold all of it but white space.

    A line's end ends a sentence. So does ``.``, ``!``, ``?`` or ``…`` before white space and a word that does
    not begin with a small letter; but not after a single letter ("J. Smith") or a common English
    abbreviation ("Mr.", "et al."). Where this errs, a sentence is two, or two are one: for next sentence
    prediction a sentence is any stretch of text (Devlin et al., 2019, appendix A.2).

    Args:
        text: any; an empty one has no sentences.
    """
    sentences: list[str] = []
    for line in text.split("\n"):
        start = 0
        for match in _END.finditer(line):
            before = line[max(start, match.start() - _LONGEST_ABBREVIATION) : match.start()]
            if _ends_sentence(before, match[0].rstrip(), line[match.end() : match.end() + 5]):
                sentences.append(line[start : match.end()].strip())
                start = match.end()
        sentences.append(line[start:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(before: str, stop: str, following: str) -> bool:
    if following.lstrip(_OPENING)[:1].islower():
        return False
    word = _LAST_WORD.search(before)
    abbreviated = word is not None and (len(word[1]) == 1 or word[1].lower() in _ABBREVIATIONS)
    return stop != "." or not abbreviated
