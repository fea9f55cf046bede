"""Packed rows: the rows of a chunk in a few flat arrays, small enough to keep many chunks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.sentence_pairs import SentencePairs
from sparsezoo_hub.training.token_blocks import TokenBlocks

_LENGTHS = "lengths"


@dataclass(frozen=True)
class RowSettings:
    """How texts become rows.

    Args:
        max_length: tokens per row at most, special tokens included.
        short_probability: the share of shorter rows, in [0, 1].
        next_sentence: rows are ``SentencePairs``, not ``TokenBlocks``.
    """

    max_length: int
    short_probability: float
    next_sentence: bool


class PackedRows:
    """Rows whose tokens lie end to end.

    Args:
        arrays: ``lengths`` (num_rows,); what else is as long as the rows together has a value for each token,
            what is as long as ``lengths`` one for each row, as ``next_sentence_label``.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = dict(arrays)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Tensor]]) -> "PackedRows":
        """Pack rows; none of their numbers is negative."""
        columns: dict[str, list[NDArray[Any]]] = {
            name: [row[name].numpy() for row in rows] for name in (rows[0] if rows else ())
        }
        arrays = {
            name: _small(np.concatenate([np.atleast_1d(each) for each in column]))
            for name, column in columns.items()
        }
        lengths = [len(each) for each in columns.get("input_ids", ())]
        return cls({**arrays, _LENGTHS: np.asarray(lengths, dtype=np.int32)})

    def __len__(self) -> int:
        return len(self.arrays[_LENGTHS])

    def row(self, index: int) -> dict[str, Tensor]:
        """Return a row as it was, its numbers as int64."""
        start, end = self._bounds[index : index + 2]
        row = {}
        for name, each in self.arrays.items():
            if name != _LENGTHS:
                # A row has several tokens, so only a column of tokens is as long as all rows together.
                value = each[start:end] if len(each) == self._bounds[-1] else each[index]
                row[name] = torch.from_numpy(np.asarray(value, dtype=np.int64))
        return row

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.arrays[_LENGTHS], dtype=np.int64)])


class RowMaker:
    """Makes rows of texts.

    Args:
        tokenizer: a fast one.
        settings: of the rows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: RowSettings) -> None:
        self.tokenizer = tokenizer
        self.settings = settings

    @property
    def kind(self) -> type[TokenBlocks] | type[SentencePairs]:
        """What rows are."""
        return SentencePairs if self.settings.next_sentence else TokenBlocks

    @cached_property
    def digest(self) -> str:
        """What tells apart makers whose rows differ, in hexadecimal."""
        tokenizer = self.tokenizer
        content = [
            tokenizer.backend_tokenizer.to_str(),
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
            tokenizer.all_special_ids,
            self.settings,
        ]
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def rows(self, texts: Sequence[str], seed: int) -> PackedRows:
        """Return the rows that texts give, none if they are too short for one.

        Args:
            texts: clean.
            seed: of what is drawn: lengths, and segments of pairs.

        Raises:
            BackboneError: if the tokenizer does not fit the rows.
        """
        settings = self.settings
        try:
            rows = self.kind(texts, self.tokenizer, settings.max_length, settings.short_probability, seed)
        except CorpusError:
            return PackedRows.of([])
        return PackedRows.of([rows[index] for index in range(len(rows))])


def _small(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.min_scalar_type(int(array.max(initial=0))))
