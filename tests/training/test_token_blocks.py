import pytest
import torch
from transformers import BertTokenizer

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.token_blocks import TokenBlocks, mask_once, masking_collator
from sparsezoo_hub.training.wordpiece import train_wordpiece

PAD, UNK, CLS, SEP, MASK = range(5)
TEXTS = [document.text for document in read_topics()[:6]]
LENGTH = 16


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return train_wordpiece(read_topics()[:6], 300)


@pytest.fixture(scope="module")
def blocks(tokenizer: BertTokenizer) -> TokenBlocks:
    return TokenBlocks(TEXTS, tokenizer, LENGTH)


def test_every_row_is_full_and_has_its_special_tokens(blocks: TokenBlocks) -> None:
    rows = torch.stack([blocks[index]["input_ids"] for index in range(len(blocks))])
    assert rows.shape == (len(blocks), LENGTH)
    assert (rows[:, 0] == CLS).all()
    assert (rows[:, -1] == SEP).all()
    assert not (rows == PAD).any()
    assert not (rows[:, 1:] == CLS).any()


def test_the_rows_hold_the_documents_in_order_and_only_an_unfilled_row_is_dropped(
    tokenizer: BertTokenizer, blocks: TokenBlocks
) -> None:
    content = [token for index in range(len(blocks)) for token in blocks[index]["input_ids"][1:-1].tolist()]
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
    blocks = TokenBlocks(texts, tokenizer, 10)
    ids = [token for index in range(len(blocks)) for token in blocks[index]["input_ids"][1:-1].tolist()]
    found = tokenizer.decode(ids).replace(" ", "").split("[SEP]")
    assert found[:-2] == [text.replace(" ", "") for text in texts[: len(found) - 2]]
    assert len(found) > 590


def test_exactly_one_row_is_enough_and_one_token_less_is_not(tokenizer: BertTokenizer) -> None:
    # "the" is one token, and each document ends with [SEP].
    assert tokenizer.tokenize("the") == ["the"]
    assert len(TokenBlocks(["the the the the the"], tokenizer, 8)) == 1
    with pytest.raises(CorpusError, match="1 documents give 5 tokens, a row takes 6: add text"):
        TokenBlocks(["the the the the"], tokenizer, 8)


def test_an_unknown_word_is_not_special_and_a_separator_is(tokenizer: BertTokenizer) -> None:
    blocks = TokenBlocks(["the 一", "the the"], tokenizer, 8)
    assert blocks[0]["input_ids"].tolist()[2:4] == [UNK, SEP]
    assert blocks[0]["special_tokens_mask"].tolist() == [1, 0, 0, 1, 0, 0, 1, 1]


def test_masks_are_drawn_once_and_are_the_same_for_every_model(
    tokenizer: BertTokenizer, blocks: TokenBlocks
) -> None:
    torch.manual_seed(1)
    first = mask_once(blocks, tokenizer, 0.15, 50)
    torch.manual_seed(2)  # another model has drawn other numbers by now
    second = mask_once(blocks, tokenizer, 0.15, 50)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["input_ids"], other["input_ids"])
        assert torch.equal(one["labels"], other["labels"])


def test_special_tokens_are_never_masked_and_the_rest_is_at_the_asked_rate(
    tokenizer: BertTokenizer, blocks: TokenBlocks
) -> None:
    rows = mask_once(blocks, tokenizer, 0.3, len(blocks))
    labels = torch.stack([row["labels"] for row in rows])
    ids = torch.stack([row["input_ids"] for row in rows])
    original = torch.stack([blocks[index]["input_ids"] for index in range(len(blocks))])
    special = (original == CLS) | (original == SEP)
    asked = labels != -100
    assert not (asked & special).any()
    assert torch.equal(labels[asked], original[asked])
    assert torch.equal(ids[~asked], original[~asked])
    num = int(asked.sum())
    assert num > 1000
    # Three standard errors of a share of 1000 draws.
    assert num / int((~special).sum()) == pytest.approx(0.3, abs=0.045)
    assert float((ids[asked] == MASK).float().mean()) == pytest.approx(0.8, abs=0.04)


def test_fewer_rows_are_spread_evenly_from_the_first_to_the_last(
    tokenizer: BertTokenizer, blocks: TokenBlocks
) -> None:
    rows = mask_once(blocks, tokenizer, 0.15, 5)
    originals = [torch.where(row["labels"] != -100, row["labels"], row["input_ids"]) for row in rows]
    last = len(blocks) - 1
    assert len(rows) == 5
    for row, index in zip(originals, [0, last // 4, last // 2, 3 * last // 4, last], strict=True):
        assert torch.equal(row, blocks[index]["input_ids"])


def test_no_more_rows_than_there_are(tokenizer: BertTokenizer, blocks: TokenBlocks) -> None:
    assert len(mask_once(blocks, tokenizer, 0.15, 10_000)) == len(blocks)


def test_in_training_every_visit_masks_anew(tokenizer: BertTokenizer, blocks: TokenBlocks) -> None:
    collate = masking_collator(tokenizer, 0.15)
    rows = [blocks[index] for index in range(20)]
    one, other = collate(rows), collate(rows)
    assert not torch.equal(one["labels"], other["labels"])
    assert one["attention_mask"].all()
