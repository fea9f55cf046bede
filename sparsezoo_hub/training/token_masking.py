"""Token masking: which tokens of a row a model is asked for, anew at every visit or once for all."""

import hashlib
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.objectives import IGNORED_LABEL, with_label_positions
from sparsezoo_hub.training.word_starts import WordStarts

Row = Mapping[str, Tensor]
Collator = Callable[[Sequence[Row]], dict[str, Tensor]]


def padding_collator(tokenizer: PreTrainedTokenizerBase) -> Collator:
    """Return the collator of rows that are masked already: see ``pad_rows``.

    Raises:
        BackboneError: if the tokenizer has no token to pad with.
    """
    return partial(pad_rows, pad_token_id=_pad_token_id(tokenizer))


def pad_rows(rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
    """Return a batch of rows of different lengths, with an ``attention_mask``.

    Args:
        rows: each with ``input_ids`` (length,); where they are, ``token_type_ids``, ``labels`` and
            ``special_tokens_mask`` are of the same length, and other tensors without dimensions.
        pad_token_id: what fills the end of ``input_ids``; labels are ``IGNORED_LABEL`` there.

    Returns:
        (batch, longest) for what has a length, (batch,) for what has none; with labels, where they are
        (``objectives.with_label_positions``).
    """
    fill = {"input_ids": pad_token_id, "labels": IGNORED_LABEL, "special_tokens_mask": 1}
    batch = {
        name: pad_sequence([row[name] for row in rows], batch_first=True, padding_value=fill.get(name, 0))
        if first.dim()
        else torch.stack([row[name] for row in rows])
        for name, first in rows[0].items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    positions = torch.arange(batch["input_ids"].shape[1])
    return with_label_positions({**batch, "attention_mask": (positions < lengths[:, None]).long()})


class TokenMasking:
    """Asks a model for some of a row's tokens; which ones depends on a seed alone.

    Not on the batch, the process or the worker that the row is in, nor on what was drawn before. Of the
    chosen tokens, 80 % become ``[MASK]``, 10 % a random token, 10 % stay (Devlin et al., 2019, section 3.1),
    each for itself, in whole words too.

    Args:
        tokenizer: of the rows.
        probability: the share of tokens that are chosen, in [0, 1].
        whole_word: choose all tokens of a word or none. Words are chosen with ``probability``, whatever
            their length, so the expected share of tokens is the same.

    Raises:
        BackboneError: if whole words are asked for and the tokenizer does not tell where they begin.
        ValueError: if the probability is outside [0, 1], or the tokenizer has no ``[MASK]``.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, probability: float, whole_word: bool = False
    ) -> None:
        self.probability = probability
        self._generator = torch.Generator()
        self._library = DataCollatorForLanguageModeling(tokenizer, mlm_probability=probability)
        self._library.generator = self._generator
        self._word_starts = WordStarts(tokenizer) if whole_word else None
        if whole_word:
            # The library's own whole_word_mask needs offsets into the text, which rows cut from many
            # documents do not have, and knows no random or unchanged tokens. So words are chosen here, and
            # the library, told to mask all that it may, replaces their tokens.
            self._library.mlm_probability = 1.0

    def __call__(self, row: Row, seed: int) -> dict[str, Tensor]:
        """Return the row with ``labels``, and without the ``special_tokens_mask`` that it must have.

        Args:
            row: ``input_ids`` and ``special_tokens_mask``, whose tokens are never chosen, (length,) both;
                what else there is, as ``next_sentence_label``, is kept.
            seed: in [0, 2**64). torch's generator takes its lower 32 bits; any two of them, neighbours too,
                give numbers that have nothing in common, as its state of 19,937 bits is mixed from them.
        """
        self._generator.manual_seed(seed)
        masked = dict(row)
        kept = masked.pop("special_tokens_mask").bool()
        if self._word_starts is not None:
            kept = self._outside_chosen_words(row["input_ids"], kept, self._word_starts)
        # The library changes the ids in place.
        masked["input_ids"], masked["labels"] = self._library.torch_mask_tokens(
            row["input_ids"].clone(), kept
        )
        return masked

    def _outside_chosen_words(self, input_ids: Tensor, special: Tensor, word_starts: WordStarts) -> Tensor:
        # (length,): the number of the word that a token belongs to. What comes before the first is special.
        word = (word_starts(input_ids[None], special[None])[0].cumsum(dim=0) - 1).clamp(min=0)
        chosen = torch.rand(input_ids.shape, generator=self._generator) < self.probability
        return special | ~chosen[word]


def row_seed(*numbers: int) -> int:
    """Return a seed in [0, 2**64) for what the numbers name, as a run's seed and a row's place in it.

    A digest, so that no two sets of numbers that differ anywhere share a seed but by chance: sums or products
    would give neighbouring runs each other's rows.
    """
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def mask_once(
    blocks: Any,
    tokenizer: PreTrainedTokenizerBase,
    probability: float,
    max_rows: int,
    whole_word: bool = False,
) -> list[dict[str, Tensor]]:
    """Return at most ``max_rows`` rows, evenly spread, with masks drawn once from a fixed seed.

    So that every model of a recipe is asked for the same tokens.

    Args:
        blocks: rows with a ``special_tokens_mask``: ``TokenBlocks`` or ``SentencePairs``.
        tokenizer: of the rows.
        probability: the share of tokens that are chosen, in [0, 1].
        max_rows: at least 1.
        whole_word: choose all tokens of a word or none.

    Returns:
        Rows of the lengths that they had, for ``padding_collator``.
    """
    mask = TokenMasking(tokenizer, probability, whole_word)
    return [mask(blocks[int(index)], row_seed(0, int(index))) for index in _spread(blocks, max_rows)]


def _pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.pad_token_id is None:
        raise BackboneError(
            f"the tokenizer ({type(tokenizer).__name__}) has no padding token, which rows of different "
            "lengths need: give it a pad_token"
        )
    return int(tokenizer.pad_token_id)


def _spread(rows: Sized, max_rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.linspace(0, len(rows) - 1, num=min(max_rows, len(rows)), dtype=np.int64)
