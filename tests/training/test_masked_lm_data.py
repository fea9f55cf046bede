import pytest
import torch

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.masked_lm_data import masked_lm_data
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.sentence_pairs import SentencePairs
from sparsezoo_hub.training.token_blocks import TokenBlocks
from sparsezoo_hub.training.wordpiece import train_wordpiece

TOPICS = read_topics()
TEXTS = [document.text for document in TOPICS]
TOKENIZER = train_wordpiece(TOPICS, 300)
SETTINGS = {"max_length": 16, "masking_probability": 0.15}


@pytest.mark.parametrize(("next_sentence", "kind"), [(False, TokenBlocks), (True, SentencePairs)])
@pytest.mark.parametrize("whole_word", [False, True])
def test_each_side_has_rows_that_its_collator_makes_a_batch_of(
    next_sentence: bool, kind: type, whole_word: bool
) -> None:
    data = masked_lm_data(
        TEXTS[:20],
        TEXTS[20:24],
        TOKENIZER,
        **SETTINGS,
        whole_word=whole_word,
        short_probability=0.1,
        next_sentence=next_sentence,
    )
    train, mask, validation, collate = data
    assert isinstance(train, kind)
    for batch in (collate([mask(train[0], 0), mask(train[1], 1)]), collate(validation[:2])):
        names = {"input_ids", "attention_mask", "labels"}
        positions = batch.pop("label_positions")
        assert batch.keys() == (names | {"token_type_ids", "next_sentence_label"} if next_sentence else names)
        assert positions.tolist() == (batch["labels"].flatten() != -100).nonzero().flatten().tolist()
        assert all(len(each) == 2 for each in batch.values())


def test_validation_has_512_rows_at_most() -> None:
    assert len(masked_lm_data(TEXTS[:1], TEXTS, TOKENIZER, **SETTINGS).validation) == 512
    few = masked_lm_data(TEXTS, TEXTS[:1], TOKENIZER, **SETTINGS)
    assert len(few.validation) == len(TokenBlocks(TEXTS[:1], TOKENIZER, 16)) < 512


@pytest.mark.parametrize("next_sentence", [False, True])
def test_runs_of_different_seeds_are_judged_on_the_same_tokens(next_sentence: bool) -> None:
    one, other = (
        masked_lm_data(
            TEXTS[:9],
            TEXTS[9:12],
            TOKENIZER,
            **SETTINGS,
            short_probability=probability,
            next_sentence=next_sentence,
            seed=seed,
        )
        for seed, probability in ((0, 0.0), (1, 0.5))
    )
    assert len(one.train) != len(other.train)
    for row, same in zip(one.validation, other.validation, strict=True):
        assert all(torch.equal(row[name], same[name]) for name in row)


def test_a_validation_side_that_is_too_small_says_so() -> None:
    with pytest.raises(CorpusError, match="got 1 documents, 1 with text"):
        masked_lm_data(TEXTS, TEXTS[:1], TOKENIZER, **SETTINGS, next_sentence=True)
    with pytest.raises(CorpusError, match="a row takes 14: add text"):
        masked_lm_data(TEXTS, ["too short"], TOKENIZER, **SETTINGS)
