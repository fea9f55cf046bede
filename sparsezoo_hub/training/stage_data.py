"""Stage data: the examples, the validation set and the collator that a stage's objective needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe import MaskedLM, Recipe, Stage
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.labelled_text import LabelledText
from sparsezoo_hub.training.tasks import find_task
from sparsezoo_hub.training.token_blocks import TokenBlocks, mask_once, masking_collator

TEXT = "text"
# Enough for a standard error of the loss below 0.03 nats, and few enough to be evaluated in seconds.
MAX_VALIDATION_ROWS = 512


@dataclass(frozen=True)
class StageData:
    """What a stage trains and is judged on."""

    train: Any
    collate: Callable[[Any], Any]
    validation: Sequence[Any]
    collate_validation: Callable[[Any], Any]
    labels: tuple[str, ...] = ()


def check_data(recipe: Recipe) -> None:
    """Refuse a recipe whose last stage would only find after all others that it has no data.

    Raises:
        RecipeError: if a masked LM stage has other data than ``text``, or another stage no known task.
    """
    for index, stage in enumerate(recipe.stages):
        try:
            if isinstance(stage.objective, MaskedLM):
                check_choice(stage.data, [TEXT], "data of masked LM")
            else:
                find_task(stage.data)
        except ValueError as error:
            raise RecipeError(f"recipe {recipe.name}, $.stages[{index}].data: {error}") from None


def load_stage_data(
    stage: Stage,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Document],
    validation: Sequence[Document],
) -> StageData:
    """Return the data of a stage, tokenized.

    Args:
        stage: its ``data`` is ``text`` for masked LM, or the name of a task.
        tokenizer: of the model that is trained.
        train: the run's training documents, for masked LM.
        validation: the run's validation documents, for masked LM.

    Raises:
        CorpusError: if a text is too small.
        ValueError: if there is no such task.
    """
    padding = DataCollatorWithPadding(tokenizer)
    if isinstance(stage.objective, MaskedLM):
        probability = stage.objective.masking_probability
        masked = masked_validation(validation, tokenizer, probability, stage.max_length)
        blocks = TokenBlocks([each.text for each in train], tokenizer, stage.max_length)
        return StageData(blocks, masking_collator(tokenizer, probability), masked, padding)
    task = find_task(stage.data)
    examples = task.load()
    return StageData(
        tokenized_examples(examples.train, task.labels, tokenizer, stage.max_length),
        padding,
        tokenized_examples(examples.validation, task.labels, tokenizer, stage.max_length),
        padding,
        task.labels,
    )


def masked_validation(
    documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase, probability: float, max_length: int
) -> list[dict[str, torch.Tensor]]:
    """Return at most ``MAX_VALIDATION_ROWS`` rows of the documents, masked the same way for every model."""
    blocks = TokenBlocks([each.text for each in documents], tokenizer, max_length)
    return mask_once(blocks, tokenizer, probability, MAX_VALIDATION_ROWS)


def tokenized_examples(
    texts: Sequence[LabelledText],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[dict[str, Any]]:
    """Return ``input_ids``, ``attention_mask`` and the index of the label for every text, truncated."""
    encoded = tokenizer([each.text for each in texts], truncation=True, max_length=max_length)
    return [
        {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels.index(text.label),
        }
        for text, ids, mask in zip(texts, encoded["input_ids"], encoded["attention_mask"], strict=True)
    ]
