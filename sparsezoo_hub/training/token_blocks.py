"""Token blocks: documents as rows of tokens, cut end to end, for masked language modelling."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError

_DOCUMENTS_AT_ONCE = 256
_SPECIAL_TOKENS = 2  # [CLS] and [SEP]
# The shortest text of a short row, as in BERT's create_pretraining_data.py.
SHORTEST_TEXT = 2


class TokenBlocks(Dataset[dict[str, torch.Tensor]]):
    """Rows ``[CLS] … [SEP]`` of at most ``max_length`` tokens, cut from the documents end to end.

    Rows are full, but for a share of shorter ones ("we allow shorter sequences at a probability of 0.1",
    Prune Once for All, section 6), whose text is of a length drawn evenly between 2 tokens and the full
    one, as in BERT's ``create_pretraining_data.py``. Every document is followed by ``[SEP]``. No token is
    dropped but those of the corpus's last row where they do not reach its length.

    Args:
        texts: the documents.
        tokenizer: a fast tokenizer with ``[CLS]`` and ``[SEP]``.
        max_length: tokens per row, special tokens included, at least 4.
        short_probability: the share of rows that are shorter, in [0, 1].
        seed: decides which rows are shorter, and by how much.

    Raises:
        CorpusError: if the texts do not fill one row.
        ValueError: if ``max_length`` or ``short_probability`` is out of range.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        short_probability: float = 0.0,
        seed: int = 0,
    ) -> None:
        content = text_length(max_length, _SPECIAL_TOKENS)
        check_short_probability(short_probability)
        self.flat = np.concatenate([np.empty(0, dtype=np.int32), *_tokens(texts, tokenizer)])
        self.offsets = _offsets(len(self.flat), content, short_probability, seed)
        if len(self) == 0:
            raise CorpusError(
                f"{len(texts)} documents give {len(self.flat)} tokens, a row takes {content}: add text"
            )
        self.ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
        self.special = special_ids(tokenizer)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return a row's ``input_ids`` and ``special_tokens_mask``, each (length,) of int64."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        start, end = self.offsets[index % len(self) :][:2]
        row = np.empty(end - start + _SPECIAL_TOKENS, dtype=np.int64)
        row[1:-1] = self.flat[start:end]
        row[0], row[-1] = self.ends
        return {
            "input_ids": torch.from_numpy(row),
            "special_tokens_mask": torch.from_numpy(np.isin(row, self.special).astype(np.int64)),
        }


def text_length(max_length: int, num_special_tokens: int) -> int:
    """Return the tokens of text in a full row.

    Raises:
        ValueError: if they are fewer than 2.
    """
    least = num_special_tokens + SHORTEST_TEXT
    if max_length < least:
        raise ValueError(f"max_length must be at least {least}, got {max_length}")
    return max_length - num_special_tokens


def check_short_probability(probability: float) -> None:
    """Raise a ValueError where ``probability`` is outside [0, 1]."""
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"short_probability must lie in [0, 1], got {probability}")


def special_ids(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.int32]:
    """Return the ids that are never masked; an unknown word is text, and not among them."""
    special = [token for token in tokenizer.all_special_ids if token != tokenizer.unk_token_id]
    return np.asarray(special, dtype=np.int32)


def _offsets(num_tokens: int, content: int, short_probability: float, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    # Enough rows even if each is of the shortest length; drawn in parts, as nearly all are longer.
    at_once = num_tokens // content + 1
    parts = [np.zeros(1, dtype=np.int64)]
    while parts[-1][-1] <= num_tokens:
        lengths = np.full(at_once, content, dtype=np.int64)
        short = generator.random(at_once) < short_probability
        lengths[short] = generator.integers(SHORTEST_TEXT, content + 1, size=int(short.sum()))
        parts.append(parts[-1][-1] + np.cumsum(lengths))
    offsets = np.concatenate(parts)
    return offsets[: int(np.searchsorted(offsets, num_tokens, side="right"))]


def _tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[NDArray[np.int32]]:
    for start in range(0, len(texts), _DOCUMENTS_AT_ONCE):
        for ids in tokenize(texts[start : start + _DOCUMENTS_AT_ONCE], tokenizer):
            yield np.asarray([*ids, tokenizer.sep_token_id], dtype=np.int32)


def tokenize(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Return the tokens of each text, without special tokens around them."""
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    ids: list[list[int]] = encoded["input_ids"] if texts else []
    return ids
