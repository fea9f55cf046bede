"""Token blocks: documents as equally long rows of tokens, for masked language modelling."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError

_DOCUMENTS_AT_ONCE = 256


class TokenBlocks(Dataset[dict[str, torch.Tensor]]):
    """Rows of ``max_length`` tokens, each ``[CLS] … [SEP]``, cut from the documents end to end.

    The last row of the corpus is dropped where it is not full, so no row is padded.

    Args:
        texts: the documents.
        tokenizer: a fast tokenizer with ``[CLS]`` and ``[SEP]``.
        max_length: tokens per row, special tokens included.

    Raises:
        CorpusError: if the texts do not fill one row.
    """

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        flat = np.fromiter(_tokens(texts, tokenizer), dtype=np.int32)
        content = max_length - 2
        num_rows = len(flat) // content
        if num_rows == 0:
            raise CorpusError(
                f"{len(texts)} documents give {len(flat)} tokens, a row takes {content}: add text"
            )
        self.rows = np.empty((num_rows, max_length), dtype=np.int32)
        self.rows[:, 0] = tokenizer.cls_token_id
        self.rows[:, 1:-1] = flat[: num_rows * content].reshape(num_rows, content)
        self.rows[:, -1] = tokenizer.sep_token_id
        special = [token for token in tokenizer.all_special_ids if token != tokenizer.unk_token_id]
        self.special = np.asarray(special, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self.rows[index]
        return {
            "input_ids": torch.from_numpy(row.astype(np.int64)),
            "special_tokens_mask": torch.from_numpy(np.isin(row, self.special).astype(np.int64)),
        }


def _tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Iterable[int]:
    for start in range(0, len(texts), _DOCUMENTS_AT_ONCE):
        batch = list(texts[start : start + _DOCUMENTS_AT_ONCE])
        for ids in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
            yield from ids
            yield tokenizer.sep_token_id


def masking_collator(tokenizer: PreTrainedTokenizerBase, probability: float) -> Any:
    """Return the collator that masks anew at every visit (80 % [MASK], 10 % random, 10 % unchanged)."""
    return DataCollatorForLanguageModeling(tokenizer, mlm_probability=probability)


def mask_once(
    blocks: TokenBlocks, tokenizer: PreTrainedTokenizerBase, probability: float, max_rows: int
) -> list[dict[str, torch.Tensor]]:
    """Return at most ``max_rows`` rows, evenly spread, with masks drawn once from a fixed seed.

    So that every model of a recipe is asked for the same tokens.
    """
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=probability, seed=0)
    chosen = np.linspace(0, len(blocks) - 1, num=min(max_rows, len(blocks)), dtype=int)
    masked = collate([blocks[int(index)] for index in chosen])
    return [
        {"input_ids": ids, "labels": labels}
        for ids, labels in zip(masked["input_ids"], masked["labels"], strict=True)
    ]
