"""Masked LM data: what a stage of masked language modelling trains and is judged on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.training.sentence_pairs import SentencePairs
from sparsezoo_hub.training.token_blocks import TokenBlocks
from sparsezoo_hub.training.token_masking import Collator, TokenMasking, mask_once, padding_collator

# Enough for a standard error of the loss below 0.03 nats, and few enough to be evaluated in seconds.
MAX_VALIDATION_ROWS = 512


class MaskedLMData(NamedTuple):
    """The rows of both sides, those to train on still to be masked, and the collator of masked rows."""

    train: TokenBlocks | SentencePairs
    mask: TokenMasking
    validation: list[dict[str, Tensor]]
    collate: Collator


def masked_lm_data(
    texts_train: Sequence[str],
    texts_validation: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    masking_probability: float,
    whole_word: bool = False,
    short_probability: float = 0.0,
    next_sentence: bool = False,
    seed: int = 0,
) -> MaskedLMData:
    """Return the data of masked language modelling, with or without next sentence prediction.

    Training rows are masked anew at every visit. Of the validation rows there are at most
    ``MAX_VALIDATION_ROWS``; they depend neither on ``seed`` nor on ``short_probability``, so that runs that
    differ in these are judged on the same tokens.

    Args:
        texts_train: the documents to train on.
        texts_validation: the documents to be judged on.
        tokenizer: a fast tokenizer.
        max_length: tokens per row at most, special tokens included.
        masking_probability: the share of tokens that are asked for, in [0, 1].
        whole_word: mask all tokens of a word or none.
        short_probability: the share of shorter training rows, in [0, 1].
        next_sentence: rows are ``SentencePairs``, not ``TokenBlocks``.
        seed: of what is drawn when training rows are made.

    Raises:
        BackboneError: if the tokenizer does not fit what is asked for.
        CorpusError: if a side has too little text.
        ValueError: if a length or probability is out of range.
    """
    rows: Any = SentencePairs if next_sentence else TokenBlocks
    # The smaller side first: if it is too small, that is known at once.
    validation = rows(texts_validation, tokenizer, max_length)
    masked = mask_once(validation, tokenizer, masking_probability, MAX_VALIDATION_ROWS, whole_word)
    return MaskedLMData(
        rows(texts_train, tokenizer, max_length, short_probability, seed),
        TokenMasking(tokenizer, masking_probability, whole_word),
        masked,
        padding_collator(tokenizer),
    )
