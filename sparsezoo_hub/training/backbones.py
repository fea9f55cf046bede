"""Backbones: the model and tokenizer that the first stage starts from, as a folder."""

from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sparsezoo_hub.core.recipe import Backbone
from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.wordpiece import train_wordpiece


def make_backbone(
    backbone: Backbone, documents: Sequence[Document], folder: Path, override: str | None = None
) -> None:
    """Write the backbone's model and tokenizer to ``folder``.

    Args:
        backbone: what the recipe asks for.
        documents: the training text, for a tokenizer that starts from nothing.
        folder: where ``from_pretrained`` will find both.
        override: a folder or Hub id that takes the place of the recipe's own model.

    Raises:
        BackboneError: if a pretrained model cannot be loaded, or is of another architecture.
    """
    source = override or backbone.pretrained
    if source is None:
        model, tokenizer = _from_nothing(backbone, documents)
    else:
        model, tokenizer = _pretrained(source, None if override else backbone.revision, backbone.model_type)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _from_nothing(
    backbone: Backbone, documents: Sequence[Document]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    assert backbone.vocab_size is not None  # noqa: S101 - the recipe's own check, for the type checker
    tokenizer = train_wordpiece(documents, backbone.vocab_size)
    try:
        config = AutoConfig.for_model(
            backbone.model_type,
            **{**backbone.config, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id},
        )
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_config(config)  # type: ignore[no-untyped-call]
    except (ValueError, KeyError) as error:
        raise BackboneError(
            f"no masked language model of type {backbone.model_type!r} "
            f"can be made of {backbone.config}: {error}"
        ) from error
    tokenizer.model_max_length = config.max_position_embeddings
    return model, tokenizer


def _pretrained(
    source: str, revision: str | None, model_type: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        config = AutoConfig.from_pretrained(source, revision=revision)
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise BackboneError(
            f"backbone {source!r} cannot be loaded: {' '.join(str(error).split())}"
        ) from error
    if config.model_type != model_type:
        raise BackboneError(
            f"backbone {source!r} is a {config.model_type}, the recipe is for a {model_type}: "
            "choose a recipe for that architecture, or another backbone"
        )
    try:
        model = AutoModelForMaskedLM.from_pretrained(source, revision=revision, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"backbone {source!r} cannot be loaded: {' '.join(str(error).split())}"
        ) from error
    if not tokenizer.is_fast or None in (
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.mask_token_id,
    ):
        raise BackboneError(f"backbone {source!r} needs a fast tokenizer with [CLS], [SEP] and [MASK] tokens")
    return model, tokenizer
