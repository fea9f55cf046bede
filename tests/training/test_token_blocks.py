import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numbered_words import CLS, FIRST_WORD, PAD, SEP, UNK, numbered_texts, numbered_tokenizer
from transformers import BertTokenizer

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.token_blocks import TokenBlocks
from sparsezoo_hub.training.wordpiece import train_wordpiece

TEXTS = [document.text for document in read_topics()[:6]]
LENGTH = 16
NUMBERED = numbered_tokenizer()


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return train_wordpiece(read_topics()[:6], 300)


@pytest.fixture(scope="module")
def blocks(tokenizer: BertTokenizer) -> TokenBlocks:
    return TokenBlocks(TEXTS, tokenizer, LENGTH)


def rows(blocks: TokenBlocks) -> list[list[int]]:
    return [blocks[index]["input_ids"].tolist() for index in range(len(blocks))]


def test_every_row_is_full_and_has_its_special_tokens(blocks: TokenBlocks) -> None:
    ids = torch.stack([blocks[index]["input_ids"] for index in range(len(blocks))])
    assert ids.shape == (len(blocks), LENGTH)
    assert (ids[:, 0] == CLS).all()
    assert (ids[:, -1] == SEP).all()
    assert not (ids == PAD).any()
    assert not (ids[:, 1:] == CLS).any()


def test_the_rows_hold_the_documents_in_order_and_only_an_unfilled_row_is_dropped(
    tokenizer: BertTokenizer, blocks: TokenBlocks
) -> None:
    content = [token for row in rows(blocks) for token in row[1:-1]]
    expected = []
    for text in TEXTS:
        expected += [*tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)), SEP]
    assert content == expected[: len(content)]
    assert len(expected) - len(content) < LENGTH - 2
    assert tokenizer.decode(content[:40]).split() == tokenizer.decode(expected[:40]).split()
    first = tokenizer.decode(content[:40], skip_special_tokens=True).replace(" ", "")
    assert "".join(TEXTS[0].lower().split()).startswith(first)


def test_more_documents_than_are_tokenized_at_once_stay_in_order(tokenizer: BertTokenizer) -> None:
    letters = str.maketrans("0123456789", "abcdefghil")
    texts = [f"the value {index:03}".translate(letters) for index in range(600)]
    ids = [token for row in rows(TokenBlocks(texts, tokenizer, 10)) for token in row[1:-1]]
    found = tokenizer.decode(ids).replace(" ", "").split("[SEP]")
    assert found[:-2] == [text.replace(" ", "") for text in texts[: len(found) - 2]]
    assert len(found) > 590


def test_exactly_one_row_is_enough_and_one_token_less_is_not(tokenizer: BertTokenizer) -> None:
    # "the" is one token, and each document ends with [SEP].
    assert tokenizer.tokenize("the") == ["the"]
    assert len(TokenBlocks(["the the the the the"], tokenizer, 8)) == 1
    with pytest.raises(CorpusError, match="1 documents give 5 tokens, a row takes 6: add text"):
        TokenBlocks(["the the the the"], tokenizer, 8)
    with pytest.raises(CorpusError, match="0 documents give 0 tokens"):
        TokenBlocks([], tokenizer, 8)


def test_an_unknown_word_is_not_special_and_a_separator_is(tokenizer: BertTokenizer) -> None:
    blocks = TokenBlocks(["the 一", "the the"], tokenizer, 8)
    assert blocks[0]["input_ids"].tolist()[2:4] == [UNK, SEP]
    assert blocks[0]["special_tokens_mask"].tolist() == [1, 0, 0, 1, 0, 0, 1, 1]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    max_length=st.integers(4, 20),
    short_probability=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_rows_of_any_length_lose_no_token_but_the_last_rows(
    lengths: list[int], max_length: int, short_probability: float, seed: int
) -> None:
    word = FIRST_WORD
    stream: list[int] = []
    for length in lengths:
        stream += [*range(word, word + length), SEP]
        word += length
    texts = numbered_texts([[length] for length in lengths])
    try:
        found = rows(TokenBlocks(texts, NUMBERED, max_length, short_probability, seed))
    except CorpusError:
        found = []
    content = [token for row in found for token in row[1:-1]]
    assert content == stream[: len(content)]
    assert len(stream) - len(content) < max_length - 2
    assert all(4 <= len(row) <= max_length and (row[0], row[-1]) == (CLS, SEP) for row in found)


def test_the_asked_share_of_rows_is_shorter_and_their_lengths_are_even() -> None:
    blocks = TokenBlocks(["w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"] * 20_000, NUMBERED, 12, 0.3, seed=1)
    lengths = np.bincount([len(row) - 2 for row in rows(blocks)], minlength=11) / len(blocks)
    assert len(blocks) > 20_000
    # A text of 2 to 10 tokens, one of nine lengths; a tenth of the short ones are as long as the others.
    assert lengths[2:10] == pytest.approx(0.3 / 9, abs=0.004)  # three standard errors
    assert lengths[10] == pytest.approx(0.7 + 0.3 / 9, abs=0.01)
    assert lengths[:2].sum() == 0


def test_a_seed_gives_the_same_rows_and_another_one_gives_others() -> None:
    texts = numbered_texts([[40, 50], [60]])
    first, again, other = (rows(TokenBlocks(texts, NUMBERED, 12, 0.5, seed)) for seed in (3, 3, 4))
    assert first == again != other


def test_the_last_row_is_the_end_of_an_iteration() -> None:
    blocks = TokenBlocks(["w0 w1 w2 w3 w4"], NUMBERED, 5)
    assert rows(blocks) == [[CLS, 5, 6, 7, SEP], [CLS, 8, 9, SEP, SEP]]
    assert blocks[-1]["input_ids"].tolist() == [CLS, 8, 9, SEP, SEP]
    with pytest.raises(IndexError, match="row 2 of 2"):
        blocks[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 3}, "max_length must be at least 4, got 3"),
        ({"max_length": 8, "short_probability": 1.5}, r"short_probability must lie in \[0, 1\], got 1.5"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenBlocks(["w0 w1 w2"], NUMBERED, **arguments)
