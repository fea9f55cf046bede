from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numbered_words import CLS, FIRST_WORD, SEP, numbered_texts, numbered_tokenizer

from sparsezoo_hub.errors import BackboneError, CorpusError
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.sentence_pairs import SentencePairs

TOKENIZER = numbered_tokenizer()
DOCUMENTS = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), min_size=2, max_size=6)


@dataclass
class Pair:
    first: list[int]
    second: list[int]
    label: int


def read(pairs: SentencePairs) -> list[Pair]:
    """The word numbers of every pair's segments, found by the separators."""
    found = []
    for index in range(len(pairs)):
        item = pairs[index]
        ids = item["input_ids"].tolist()
        middle = ids.index(SEP)
        assert (ids[0], ids[-1], ids.count(SEP)) == (CLS, SEP, 2)
        assert item["token_type_ids"].tolist() == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
        assert item["special_tokens_mask"].tolist() == [int(each < FIRST_WORD) for each in ids]
        first, second = ids[1:middle], ids[middle + 1 : -1]
        found.append(
            Pair(
                [each - FIRST_WORD for each in first],
                [each - FIRST_WORD for each in second],
                int(item["next_sentence_label"]),
            )
        )
    return found


def pairs_of(documents: list[list[int]], *arguments: float) -> list[Pair]:
    try:
        return read(SentencePairs(numbered_texts(documents), TOKENIZER, *arguments))
    except CorpusError:
        assert all(sum(lengths) < 2 or len(lengths) == 1 for lengths in documents)
        assume(False)
        raise


@given(
    documents=DOCUMENTS,
    max_length=st.integers(5, 40),
    short_probability=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 100),
)
def test_a_pair_is_two_stretches_of_text_of_one_document_or_of_two(
    documents: list[list[int]], max_length: int, short_probability: float, seed: int
) -> None:
    ends = list(accumulate(sum(lengths) for lengths in documents))
    document_of = [sum(word >= end for end in ends) for word in range(ends[-1])]
    for pair in pairs_of(documents, max_length, short_probability, seed):
        room = max_length - 3 - len(pair.first) - len(pair.second)
        assert room >= 0
        for segment in (pair.first, pair.second):
            assert segment == list(range(segment[0], segment[0] + len(segment)))
            assert len({document_of[word] for word in segment}) == 1
        a, b = document_of[pair.first[0]], document_of[pair.second[0]]
        if pair.label == 0:
            assert a == b
            # Only a pair that was too long may have lost tokens between its segments.
            assert pair.second[0] > pair.first[-1]
            assert room == 0 or pair.second[0] == pair.first[-1] + 1
        else:
            assert a != b


@given(documents=DOCUMENTS, short_probability=st.sampled_from([0.0, 0.5]), seed=st.integers(0, 100))
def test_every_sentence_is_used_once_but_one_that_is_left_alone(
    documents: list[list[int]], short_probability: float, seed: int
) -> None:
    # Rows with room for all: nothing is cut off.
    used: list[int] = []
    for pair in pairs_of(documents, 200, short_probability, seed):
        used += pair.first + (pair.second if pair.label == 0 else [])
    number = 0
    for lengths in documents:
        words = list(range(number, number + sum(lengths)))
        number += len(words)
        found = [word for word in used if word in set(words)]
        assert found in (words, words[: -lengths[-1]])
        if len(lengths) == 1:
            assert found == []


def test_b_follows_a_half_of_the_time() -> None:
    # Documents of two to five sentences, where BERT's own program makes most pairs random.
    documents = [[1] * (2 + index % 4) for index in range(500)]
    for max_length in (5, 60):
        labels = [pair.label for pair in pairs_of(documents, max_length, 0.0, max_length)]
        assert len(labels) > 600
        assert sum(labels) / len(labels) == pytest.approx(0.5, abs=0.06)  # three standard errors


def test_a_pair_that_is_too_long_loses_tokens_of_its_longer_segment_at_both_ends() -> None:
    # 9 tokens of text take three sentences of 4, one of them in the one segment and two in the other.
    pairs = [pair for seed in range(20) for pair in pairs_of([[4] * 30, [4] * 30], 12, 0.0, seed)]
    full = [pair for pair in pairs if len(pair.first) + len(pair.second) == 9]
    assert len(full) > len(pairs) * 0.7
    assert {(len(pair.first), len(pair.second)) for pair in full} == {(4, 5), (5, 4)}
    # Three of eight tokens are lost, none to three of them at the start.
    assert {pair.first[0] % 4 for pair in full if len(pair.first) == 5} == {0, 1, 2, 3}
    assert {pair.second[0] % 4 for pair in full if len(pair.second) == 5} == {0, 1, 2, 3}
    whole = [segment for pair in full for segment in (pair.first, pair.second) if len(segment) == 4]
    assert {segment[0] % 4 for segment in whole} == {0}


def test_a_sentence_that_fills_a_row_by_itself_still_gives_pairs() -> None:
    pairs = pairs_of([[100], [100]], 23, 0.0, 0)
    # 20 tokens of text in two parts of 10, and what follows A is its own sentence's next part.
    assert {(len(pair.first), len(pair.second)) for pair in pairs} == {(10, 10)}
    assert {pair.second[0] - pair.first[-1] for pair in pairs if pair.label == 0} == {1}


def test_short_rows_are_drawn_for_each_row() -> None:
    documents = [[1] * 500, [1] * 500]
    lengths = [
        len(pair.first) + len(pair.second)
        for seed in range(20)
        for pair in pairs_of(documents, 23, 0.3, seed)
    ]
    short = sum(length < 20 for length in lengths) / len(lengths)
    assert len(lengths) > 1500
    # One of the nineteen lengths from 2 to 20 is not short.
    assert short == pytest.approx(0.3 * 18 / 19, abs=0.036)  # three standard errors
    assert min(lengths) == 2
    full = [len(pair.first) + len(pair.second) == 20 for pair in pairs_of(documents, 23, 0.0, 0)]
    assert sum(full) >= len(full) - 5  # a document's last, and a random segment at a document's end


def test_a_seed_gives_the_same_pairs_and_another_one_gives_others() -> None:
    documents = [[3] * 30, [5] * 20]
    first, again, other = (pairs_of(documents, 20, 0.1, seed) for seed in (3, 3, 4))
    assert first == again != other


def test_a_separator_in_the_text_is_special() -> None:
    pairs = SentencePairs(["w1 [SEP] w2\nw3", "w4"], TOKENIZER, 40)
    for index in range(len(pairs)):
        item = pairs[index]
        assert item["special_tokens_mask"].tolist() == (item["input_ids"] < FIRST_WORD).int().tolist()


def test_more_documents_than_are_tokenized_at_once_stay_apart() -> None:
    pairs = pairs_of([[1, 1]] * 600, 10, 0.0, 0)
    assert {tuple(pair.first) for pair in pairs} == {(2 * number,) for number in range(600)}
    assert all((pair.second[0] == pair.first[0] + 1) == (pair.label == 0) for pair in pairs)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "got 0 documents, 0 with text: give at least 2"),
        (["w1\nw2", " \n"], "got 2 documents, 1 with text: give at least 2"),
        (["w1", "w2"], "none of 2 documents has two sentences"),
    ],
)
def test_too_little_text_says_so(texts: list[str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        SentencePairs(texts, TOKENIZER, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 4}, "max_length must be at least 5, got 4"),
        ({"max_length": 8, "short_probability": -0.1}, r"short_probability must lie in \[0, 1\], got -0.1"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SentencePairs(["w0\nw1", "w2"], TOKENIZER, **arguments)


def test_a_tokenizer_without_token_types_is_refused() -> None:
    tokenizer = train_byte_level_bpe(read_topics()[:2], 300)
    with pytest.raises(BackboneError, match="RobertaTokenizer does not know: take a BERT backbone"):
        SentencePairs(["w0\nw1", "w2"], tokenizer, 20)
