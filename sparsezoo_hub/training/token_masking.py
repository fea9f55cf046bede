"""Token masking: which tokens of a batch a model is asked for, anew at every visit or once for all."""

from collections.abc import Callable, Mapping, Sequence, Sized
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.objectives import IGNORED_LABEL
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
        (batch, longest) for what has a length, (batch,) for what has none.
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
    return {**batch, "attention_mask": (positions < lengths[:, None]).long()}


def masking_collator(
    tokenizer: PreTrainedTokenizerBase, probability: float, whole_word: bool = False, seed: int | None = None
) -> Collator:
    """Return the collator that pads, and masks anew at every visit.

    Of the chosen tokens, 80 % become ``[MASK]``, 10 % a random token, 10 % stay (Devlin et al., 2019,
    section 3.1), each for itself, in whole words too. Rows need a ``special_tokens_mask``, whose tokens are
    never chosen; what has no dimension, as ``next_sentence_label``, is kept.

    Args:
        tokenizer: of the rows.
        probability: the share of tokens that are chosen, in [0, 1].
        whole_word: choose all tokens of a word or none. Words are chosen with ``probability``, whatever
            their length, so the expected share of tokens is the same.
        seed: of the masks; None draws them from torch's global numbers, as training does.

    Raises:
        BackboneError: if the tokenizer has no token to pad with, or whole words are asked for and it does
            not tell where they begin.
        ValueError: if the probability is outside [0, 1], or the tokenizer has no ``[MASK]``.
    """
    pad_token_id = _pad_token_id(tokenizer)
    library = DataCollatorForLanguageModeling(tokenizer, mlm_probability=probability, seed=seed)
    if seed is not None:
        library.create_rng()  # type: ignore[no-untyped-call]
    if not whole_word:
        return partial(_pad_and_mask, pad_token_id=pad_token_id, library=library, word_choice=None)
    # The library's own whole_word_mask needs offsets into the text, which rows cut from many documents do
    # not have, and knows no random or unchanged tokens. So words are chosen here, and the library, told to
    # mask all that it may, replaces their tokens.
    library.mlm_probability = 1.0
    return partial(
        _pad_and_mask,
        pad_token_id=pad_token_id,
        library=library,
        word_choice=partial(
            _outside_chosen_words, word_starts=WordStarts(tokenizer), probability=probability
        ),
    )


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
    collate = masking_collator(tokenizer, probability, whole_word, seed=0)
    masked = collate([blocks[int(index)] for index in _spread(blocks, max_rows)])
    lengths = masked.pop("attention_mask").sum(dim=1).tolist()
    return [
        # A clone, as a part of a batch would keep the whole batch alive.
        {name: (each[row, :length] if each.dim() > 1 else each[row]).clone() for name, each in masked.items()}
        for row, length in enumerate(lengths)
    ]


def _pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.pad_token_id is None:
        raise BackboneError(
            f"the tokenizer ({type(tokenizer).__name__}) has no padding token, which rows of different "
            "lengths need: give it a pad_token"
        )
    return int(tokenizer.pad_token_id)


def _spread(rows: Sized, max_rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.linspace(0, len(rows) - 1, num=min(max_rows, len(rows)), dtype=np.int64)


def _pad_and_mask(
    rows: Sequence[Row],
    pad_token_id: int,
    library: DataCollatorForLanguageModeling,
    word_choice: Callable[..., Tensor] | None,
) -> dict[str, Tensor]:
    batch = pad_rows(rows, pad_token_id)
    kept = batch.pop("special_tokens_mask").bool()
    if word_choice is not None:
        kept = word_choice(batch["input_ids"], kept, generator=library.generator)
    batch["input_ids"], batch["labels"] = library.torch_mask_tokens(batch["input_ids"], kept)
    return batch


def _outside_chosen_words(
    input_ids: Tensor,
    special: Tensor,
    word_starts: WordStarts,
    probability: float,
    generator: torch.Generator | None,
) -> Tensor:
    # (batch, length): the number of the word that a token belongs to, counted in its row. What comes before
    # the first word is special.
    word = (word_starts(input_ids, special).cumsum(dim=1) - 1).clamp(min=0)
    chosen = torch.rand(input_ids.shape, generator=generator) < probability
    return special | ~chosen.gather(1, word)
