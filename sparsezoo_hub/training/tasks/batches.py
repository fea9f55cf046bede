"""Batches: tokenized examples, and the collator that pads them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.objectives import IGNORED_LABEL, with_label_positions

# ``input_ids`` and what else the model reads, without padding, and the shape's labels.
Feature = Mapping[str, Any]


@dataclass(frozen=True)
class Encoded:
    """A split, tokenized.

    Args:
        features: model inputs with labels; one or more (windows) to an example.
        examples: what they come from.
        origins: what a shape needs to read predictions, one entry to a feature.
        notices: what was lost, if anything.
    """

    features: Sequence[Feature]
    examples: Sequence[Any]
    origins: Sequence[Any] = ()
    notices: tuple[str, ...] = ()


def check_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that cannot say where its tokens come from, or has none to begin with.

    Raises:
        BackboneError: if it is not a fast one, or has no [CLS] (or <s>).
    """
    if not tokenizer.is_fast:
        raise BackboneError(
            f"{type(tokenizer).__name__} gives no offsets: use a fast tokenizer (tokenizer.json) of the model"
        )
    if tokenizer.cls_token_id is None or tokenizer.pad_token_id is None:
        raise BackboneError(f"{type(tokenizer).__name__} lacks a [CLS] or a padding token: use an encoder's")


def model_inputs(encoded: Any, index: int) -> dict[str, Any]:
    """Return one row of a tokenizer's output, in as few bytes as it takes; the mask is all ones."""
    row: dict[str, Any] = {"input_ids": np.asarray(encoded["input_ids"][index], dtype=np.int32)}
    if "token_type_ids" in encoded:
        row["token_type_ids"] = np.asarray(encoded["token_type_ids"][index], dtype=np.int8)
    return row


def padding_collator(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Feature]], dict[str, Tensor]]:
    """Return a collator of features to (batch, longest), padded on the right; draws no random numbers.

    Labels per token are padded with ``IGNORED_LABEL``; ``answer_mask`` is True at [CLS] and where
    ``context`` (the first position and the one behind the last) says that an answer may stand.
    """
    paddings = {
        "input_ids": tokenizer.pad_token_id,
        "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0),
        "labels": IGNORED_LABEL,
    }

    def collate(features: Sequence[Feature]) -> dict[str, Tensor]:
        lengths = torch.tensor([len(each["input_ids"]) for each in features])
        positions = torch.arange(int(lengths.max()))
        batch = {"attention_mask": (positions < lengths[:, None]).long()}
        for name, first in features[0].items():
            if name == "context":
                ends = torch.tensor([each[name] for each in features])
                batch["answer_mask"] = (positions >= ends[:, :1]) & (positions < ends[:, 1:])
                batch["answer_mask"] |= batch["input_ids"] == tokenizer.cls_token_id
            elif isinstance(first, np.ndarray):
                batch[name] = _padded([each[name] for each in features], len(positions), paddings[name])
            else:
                batch[name] = torch.tensor([each[name] for each in features])
        return with_label_positions(batch)

    return collate


def _padded(rows: Sequence[NDArray[Any]], length: int, padding: int) -> Tensor:
    full = np.full((len(rows), length), padding, dtype=np.int64)
    for index, row in enumerate(rows):
        full[index, : len(row)] = row
    return torch.from_numpy(full)
