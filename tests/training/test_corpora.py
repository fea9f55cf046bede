import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import (
    Document,
    clean_text,
    read_text_files,
    split_by_document,
    text_digest,
)

NOVELS = Path(__file__).parents[3] / "shared" / "data" / "mlm_novels" / "validation.jsonl.gz"
sizes = st.lists(st.integers(1, 500), min_size=2, max_size=30)


def corpus(sizes: list[int]) -> list[Document]:
    return [Document(f"document-{number}", "x" * size) for number, size in enumerate(sizes)]


@given(sizes, st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_loses_nothing_and_leaves_neither_side_empty(
    sizes: list[int], fraction: float, seed: int
) -> None:
    documents = corpus(sizes)
    train, validation = split_by_document(documents, fraction, seed)
    assert train
    assert validation
    assert sorted(each.name for each in train + validation) == sorted(each.name for each in documents)


@given(sizes, st.floats(0.01, 0.99), st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_split_does_not_depend_on_the_order(
    sizes: list[int], fraction: float, seed: int, rng: random.Random
) -> None:
    documents = corpus(sizes)
    shuffled = rng.sample(documents, len(documents))
    for side, other in zip(
        split_by_document(documents, fraction, seed),
        split_by_document(shuffled, fraction, seed),
        strict=True,
    ):
        assert {each.name for each in side} == {each.name for each in other}


@given(sizes, st.floats(0.01, 0.99))
def test_validation_takes_no_more_than_its_share_unless_one_document_is_more(
    sizes: list[int], fraction: float
) -> None:
    _, validation = split_by_document(corpus(sizes), fraction)
    taken = sum(len(each.text) for each in validation)
    assert taken <= fraction * sum(sizes) or (len(validation) == 1 and taken == min(sizes))


def test_validation_comes_close_to_its_share() -> None:
    _, validation = split_by_document(corpus([100] * 200), 0.1)
    assert len(validation) == 20


def test_sides_keep_the_given_order_and_seeds_differ() -> None:
    documents = corpus([10] * 50)
    splits = [split_by_document(documents, 0.2, seed)[1] for seed in range(3)]
    assert len({tuple(each.name for each in split) for split in splits}) == 3
    for split in splits:
        assert [documents.index(each) for each in split] == sorted(documents.index(each) for each in split)


def test_one_document_cannot_be_split() -> None:
    with pytest.raises(CorpusError, match=r"1 document cannot be split .* give more text"):
        split_by_document(corpus([5]), 0.5)


def test_equal_names_are_refused() -> None:
    with pytest.raises(CorpusError, match="3 documents have only 2 names"):
        split_by_document([*corpus([5, 6]), Document("document-0", "y")], 0.5)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_outside_0_and_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="validation_fraction must lie in"):
        split_by_document(corpus([5, 6]), fraction)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("a\x00b\x1b[0m\ufeff", "a b [0m"),
        ("one  two\t\tthree\u00a0four", "one two three four"),
        ("  indented\r\n   lines \r\n", "indented\nlines"),
        ("one\n \n\t\n\n\ntwo", "one\n\ntwo"),
        ("half \ud83d of a pair", "half of a pair"),
        (" \n\x07 ", ""),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.text(st.characters(codec=None)))
def test_cleaning_twice_is_cleaning_once_and_gives_what_utf8_can_write(raw: str) -> None:
    clean = clean_text(raw)
    assert clean_text(clean) == clean
    assert clean.encode().decode() == clean


def test_a_repeated_document_is_kept_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in ("x", " x", "y")))
    (tmp_path / "b.txt").write_text("y")
    documents = read_text_files([tmp_path / "a.jsonl", tmp_path / "b.txt"])
    assert [each.name for each in documents] == ["a.jsonl:1", "a.jsonl:3"]


def test_files_of_one_name_in_two_folders_give_different_names(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(folder)
    documents = read_text_files([tmp_path / "one" / "a.txt", tmp_path / "two" / "a.txt"])
    assert len({each.name for each in documents}) == 2


@pytest.mark.parametrize("separator", ["\n\n", "\n", " "])
def test_one_long_file_is_cut_between_paragraphs_lines_or_words(separator: str, tmp_path: Path) -> None:
    paragraphs = [f"paragraph-{number}" + "-x" * 40 for number in range(6_000)]
    (tmp_path / "a.txt").write_text(separator.join(paragraphs))
    documents = read_text_files([tmp_path / "a.txt"])
    assert [part for each in documents for part in each.text.split(separator)] == paragraphs
    assert len({each.name for each in documents}) == len(documents)
    assert all(20_000 <= len(each.text) <= 40_000 for each in documents[:-1])
    train, validation = split_by_document(documents, 0.1)
    assert len(train) > len(validation) >= 1


def test_a_short_file_is_cut_into_shorter_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(["A paragraph of some words."] * 200))
    documents = read_text_files([tmp_path / "a.txt"])
    assert all(1_000 <= len(each.text) <= 2_000 for each in documents[:-1])
    assert len(documents) >= 3


def test_a_text_without_any_space_is_cut_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 10_000)
    assert "".join(each.text for each in read_text_files([tmp_path / "a.txt"])) == "x" * 10_000


def test_enough_documents_are_not_cut(tmp_path: Path) -> None:
    texts = [f"{number} " + "word " * 10_000 + "end" for number in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert [each.text for each in read_text_files([tmp_path / "a.jsonl"])] == texts


def test_the_digest_is_over_the_texts_in_order() -> None:
    documents = [Document("a", "one"), Document("b", "caf\u00e9")]
    expected = hashlib.sha256(b"one\0caf\xc3\xa9\0").hexdigest()
    assert text_digest(documents) == f"sha256:{expected}"
    assert text_digest(documents[::-1]) != text_digest(documents)
    assert text_digest([Document("z", "one"), Document("y", "caf\u00e9")]) == text_digest(documents)


@pytest.mark.skipif(not NOVELS.exists(), reason="no shared data on this machine")
def test_a_corpus_of_novels_is_read_and_split() -> None:
    documents = read_text_files([NOVELS])
    assert len(documents) == 849
    train, validation = split_by_document(documents, 0.05)
    share = sum(len(each.text) for each in validation) / sum(len(each.text) for each in documents)
    assert 0.045 <= share <= 0.05
    assert len(train) + len(validation) == 849
