import pickle

import numpy as np
import pytest
import torch
from numbered_words import FIRST_WORD, MASK, PAD, numbered_texts, numbered_tokenizer
from transformers import BertTokenizer, PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.sentence_pairs import SentencePairs
from sparsezoo_hub.training.token_blocks import TokenBlocks
from sparsezoo_hub.training.token_masking import TokenMasking, mask_once, pad_rows, padding_collator, row_seed
from sparsezoo_hub.training.wordpiece import train_wordpiece

TOPICS = read_topics()[:6]
TEXTS = [document.text for document in TOPICS]
LENGTH = 16
TOKENIZERS = {"wordpiece": train_wordpiece(TOPICS, 300), "byte_level_bpe": train_byte_level_bpe(TOPICS, 600)}
BLOCKS = {name: TokenBlocks(TEXTS, tokenizer, LENGTH, 0.2) for name, tokenizer in TOKENIZERS.items()}
BERT = TOKENIZERS["wordpiece"]
PAIRS = SentencePairs(TEXTS, BERT, 24, 0.2)
ROWS = {"blocks": BLOCKS["wordpiece"], "pairs": PAIRS}

Batch = dict[str, torch.Tensor]


def whole_batch(rows: TokenBlocks | SentencePairs) -> Batch:
    return pad_rows([rows[index] for index in range(len(rows))], PAD)


def masked_batch(rows: TokenBlocks | SentencePairs, mask: TokenMasking, seed: int) -> Batch:
    return pad_rows([mask(rows[index], row_seed(seed, index)) for index in range(len(rows))], PAD)


def words(tokenizer: PreTrainedTokenizerBase, ids: list[int], special: list[int]) -> list[list[int]]:
    """The positions of each word's tokens, from their spelling."""
    found: list[list[int]] = []
    if tokenizer is BERT:
        tokens = tokenizer.convert_ids_to_tokens(ids)
    else:
        # A part of a character is decoded to a mark that is not a letter, and belongs to a word all the same.
        tokens = [tokenizer.decode([token]).replace("\ufffd", "x") for token in ids]
    for position, (token, is_special) in enumerate(zip(tokens, special, strict=True)):
        if is_special:
            continue
        fresh = position == 0 or special[position - 1]
        before = tokens[position - 1]
        if tokenizer is BERT:
            continues = token.startswith("##")
        else:
            continues = token[0].isalnum() and before[-1].isalnum()
        if continues and not fresh:
            found[-1].append(position)
        else:
            found.append([position])
    return found


@pytest.mark.parametrize("name", TOKENIZERS)
def test_all_tokens_of_a_word_are_masked_or_none_and_words_at_the_asked_rate(name: str) -> None:
    tokenizer, blocks = TOKENIZERS[name], BLOCKS[name]
    mask = TokenMasking(tokenizer, 0.3, whole_word=True)
    num_words = num_masked = num_long = 0
    for visit in range(4):
        for index in range(len(blocks)):
            row = blocks[index]
            labels = mask(row, row_seed(visit, index))["labels"]
            for word in words(tokenizer, row["input_ids"].tolist(), row["special_tokens_mask"].tolist()):
                asked = {bool(labels[position] != -100) for position in word}
                assert len(asked) == 1, tokenizer.convert_ids_to_tokens(row["input_ids"][word])
                num_words += 1
                num_masked += asked.pop()
                num_long += len(word) > 1
    assert num_long > 1000
    assert num_words > 10_000
    assert num_masked / num_words == pytest.approx(0.3, abs=0.014)  # three standard errors


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("data", ROWS)
def test_special_tokens_are_never_masked_and_the_rest_is_at_the_asked_rate(
    data: str, whole_word: bool
) -> None:
    original = whole_batch(ROWS[data])
    asked_share, replaced = [], []
    for seed in range(8):
        batch = masked_batch(ROWS[data], TokenMasking(BERT, 0.3, whole_word), seed)
        ids, labels = batch["input_ids"], batch["labels"]
        asked = labels != -100
        text = original["special_tokens_mask"] == 0
        assert not (asked & ~text).any()
        assert torch.equal(labels[asked], original["input_ids"][asked])
        assert torch.equal(ids[~asked], original["input_ids"][~asked])
        asked_share.append(float(asked.sum() / text.sum()))
        replaced += [ids[asked] == MASK, ids[asked] == labels[asked]]
    # The share is of tokens, long words or not: three standard errors are below 0.01 for words of 3 tokens.
    assert np.mean(asked_share) == pytest.approx(0.3, abs=0.012)
    assert float(torch.cat(replaced[::2]).float().mean()) == pytest.approx(0.8, abs=0.01)
    assert float(torch.cat(replaced[1::2]).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_the_tokens_of_a_chosen_word_are_replaced_each_for_itself() -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]
    tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)})
    blocks = TokenBlocks(["abbbb " * 2000], tokenizer, 12)
    batch = masked_batch(blocks, TokenMasking(tokenizer, 1.0, whole_word=True), 0)
    masked = batch["input_ids"][:500, 1:-1] == MASK
    both = (masked[:, :-1] & masked[:, 1:]).float().mean()
    assert float(both) == pytest.approx((0.8 + 0.1 / 7) ** 2, abs=0.03)  # a random token may be [MASK]


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("data", ROWS)
def test_masks_are_drawn_once_and_are_the_same_for_every_model(data: str, whole_word: bool) -> None:
    torch.manual_seed(1)
    first = mask_once(ROWS[data], BERT, 0.15, 50, whole_word)
    torch.manual_seed(2)  # another model has drawn other numbers by now
    state = torch.get_rng_state()
    second = mask_once(ROWS[data], BERT, 0.15, 50, whole_word)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_row_that_is_masked_once_keeps_its_length_and_what_else_it_has() -> None:
    for row, before in zip(mask_once(PAIRS, BERT, 0.15, 10_000), PAIRS, strict=True):
        assert row["input_ids"].shape == row["labels"].shape == before["input_ids"].shape
        assert torch.equal(row["token_type_ids"], before["token_type_ids"])
        assert torch.equal(row["next_sentence_label"], before["next_sentence_label"])
        assert row["input_ids"].untyped_storage().nbytes() == 8 * len(row["input_ids"])


def test_fewer_rows_are_spread_evenly_from_the_first_to_the_last() -> None:
    blocks = BLOCKS["wordpiece"]
    rows = mask_once(blocks, BERT, 0.15, 5)
    originals = [torch.where(row["labels"] != -100, row["labels"], row["input_ids"]) for row in rows]
    last = len(blocks) - 1
    assert len(rows) == 5
    for row, index in zip(originals, [0, last // 4, last // 2, 3 * last // 4, last], strict=True):
        assert torch.equal(row, blocks[index]["input_ids"])


def test_no_more_rows_than_there_are() -> None:
    assert len(mask_once(BLOCKS["wordpiece"], BERT, 0.15, 10_000)) == len(BLOCKS["wordpiece"])


@pytest.mark.parametrize("whole_word", [False, True])
def test_a_seed_alone_decides_a_rows_masks_and_leaves_the_row_as_it_is(whole_word: bool) -> None:
    row = BLOCKS["wordpiece"][3]
    before = {name: each.clone() for name, each in row.items()}
    mask, again = (TokenMasking(BERT, 0.3, whole_word) for _ in range(2))
    state = torch.get_rng_state()
    found = [mask(row, seed) for seed in (5, 6, 2**64 - 1)]
    again(BLOCKS["wordpiece"][0], 9)  # what was drawn before does not count
    repeated = [again(row, seed) for seed in (5, 6, 2**64 - 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(row[name], each) for name, each in before.items())
    assert found[0].keys() == {"input_ids", "labels"}
    for one, other in zip(found, repeated, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert len({tuple(each["labels"].tolist()) for each in found}) == 3


def test_row_seeds_differ_between_neighbours_and_between_orders_of_the_same_numbers() -> None:
    seeds = {row_seed(run, number) for run in range(30) for number in range(300)}
    assert len(seeds | {row_seed(2, 1, 1), row_seed(21, 1)}) == 30 * 300 + 1  # (21, 1) is one of them
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_masks_of_neighbouring_seeds_have_nothing_in_common() -> None:
    blocks = TokenBlocks(numbered_texts([[1900]]), numbered_tokenizer(), 512)
    mask = TokenMasking(numbered_tokenizer(), 0.5)
    asked = torch.stack([mask(blocks[0], seed)["labels"][1:-1] != -100 for seed in range(40)]).float()
    correlations = torch.corrcoef(asked)[~torch.eye(40, dtype=torch.bool)]
    assert float(correlations.abs().max()) < 4.5 / 510**0.5  # 780 pairs of independent ones stay below


def test_padding_is_neither_attended_to_nor_asked_for() -> None:
    blocks = TokenBlocks(numbered_texts([[40]]), numbered_tokenizer(), 12, 0.9, seed=2)
    rows = [blocks[index] for index in range(len(blocks))]
    lengths = [len(row["input_ids"]) for row in rows]
    assert len(set(lengths)) > 2
    batch = masked_batch(blocks, TokenMasking(numbered_tokenizer(), 1.0), 0)
    assert batch.keys() == {"input_ids", "labels", "attention_mask", "label_positions"}
    assert batch["attention_mask"].tolist() == [[1] * each + [0] * (max(lengths) - each) for each in lengths]
    outside = batch["attention_mask"] == 0
    assert (batch["input_ids"][outside] == PAD).all()
    assert (batch["labels"][outside] == -100).all()
    asked = batch["labels"][batch["labels"] != -100].tolist()
    assert asked == list(range(FIRST_WORD, FIRST_WORD + len(asked)))


def test_rows_that_are_masked_already_are_only_padded() -> None:
    long = {"input_ids": torch.tensor([2, 4, 7, 3]), "labels": torch.tensor([-100, 9, -100, -100])}
    short = {"input_ids": torch.tensor([2, 3]), "labels": torch.tensor([-100, -100])}
    tops = [torch.tensor(1), torch.tensor(0)]
    rows = [{**row, "next_sentence_label": top} for row, top in zip((long, short), tops, strict=True)]
    batch = padding_collator(BERT)(rows)
    assert {name: each.tolist() for name, each in batch.items()} == {
        "input_ids": [[2, 4, 7, 3], [2, 3, PAD, PAD]],
        "labels": [[-100, 9, -100, -100], [-100] * 4],
        "label_positions": [1],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]],
        "next_sentence_label": [1, 0],
    }


def test_masks_go_through_a_pickle_and_go_on_alike() -> None:
    mask = TokenMasking(BERT, 0.5, whole_word=True)
    again = pickle.loads(pickle.dumps(mask))  # noqa: S301
    assert torch.equal(again(PAIRS[0], 5)["labels"], mask(PAIRS[0], 5)["labels"])


def test_a_tokenizer_without_padding_is_refused() -> None:
    tokenizer = numbered_tokenizer(5)
    tokenizer.pad_token = None
    with pytest.raises(BackboneError, match=r"\(BertTokenizer\) has no padding token"):
        padding_collator(tokenizer)
