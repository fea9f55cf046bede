from collections import Counter

import pytest

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.documentation_parts import (
    load_documentation_parts,
    part_of,
    passages,
    split_parts,
)


def test_the_task_is_large_enough_and_no_class_dominates() -> None:
    split = load_documentation_parts()
    assert len(split.labels) >= 4
    assert len(split.train) + len(split.validation) >= 2_000
    for side in (split.train, split.validation):
        counts = Counter(each.label for each in side)
        assert set(counts) == set(split.labels)
        assert max(counts.values()) <= 0.4 * len(side)
        assert min(counts.values()) >= 0.05 * len(side)


def test_no_document_and_no_text_is_on_both_sides() -> None:
    split = load_documentation_parts()
    assert not {each.document for each in split.train} & {each.document for each in split.validation}
    texts = [each.text for each in (*split.train, *split.validation)]
    assert len(set(texts)) == len(texts)


def test_each_passage_has_at_least_15_words_on_one_line() -> None:
    split = load_documentation_parts()
    for each in (*split.train, *split.validation):
        assert len(each.text.split()) >= 15
        assert "\n" not in each.text


def test_a_label_is_the_part_of_its_document() -> None:
    split = load_documentation_parts()
    assert all(each.label == part_of(each.document) for each in (*split.train, *split.validation))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("topic:assert", "language"),
        ("asyncio.events", "concurrency"),
        ("http.client", "internet"),
        ("unittest", "development"),
        ("zipfile._path", "files-and-system"),
        ("turtle", None),
        ("httplib", None),
    ],
)
def test_a_module_belongs_to_its_packages_part(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_paragraphs_are_joined_until_they_have_30_words_and_code_is_left_out() -> None:
    short = "Ten words in this paragraph and no more than that"
    table = "| 1 | 2 | 3 | 4 | 5 |"
    text = "\n\n".join([short, table, short.upper(), short.lower(), "Too short to stand alone."])
    assert list(passages(text, set())) == [f"{short} {short.upper()} {short.lower()}"]


def test_a_paragraph_that_was_seen_is_left_out() -> None:
    text = "word " * 40
    seen: set[str] = set()
    assert len(list(passages(text, seen))) == 1
    assert list(passages(text, seen)) == []


def test_a_missing_part_says_what_to_do() -> None:
    documents = [Document("email", "a"), Document("http", "b")]
    with pytest.raises(
        CorpusError, match=r"part 'concurrency' .* has 0 documents, 2 are needed: use a Python"
    ):
        split_parts(documents)


def test_too_few_passages_say_what_to_do() -> None:
    names = ["topic:a", "topic:b", "email", "http", "asyncio", "queue", "pdb", "ast", "os", "csv"]
    documents = [Document(name, "word " * 40 + name) for name in names]
    with pytest.raises(CorpusError, match=r"gives 10 passages, 2,000 are needed: use a Python"):
        split_parts(documents)
