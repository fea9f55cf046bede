"""Backbones: the model and tokenizer that the first stage starts from, as a folder."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe import Backbone, Recipe
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.wordpiece import train_wordpiece

logger = logging.getLogger(__name__)

# What transformers raises for files that are missing, broken, or do not fit each other.
_UNUSABLE = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    HfHubHTTPError,
    HFValidationError,
    SafetensorError,
    StrictDataclassError,
)


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
        BackboneError: if a pretrained model cannot be loaded, or is of another architecture, or its
            tokenizer does not fit it; or if no model can be made of the recipe's config.
        CorpusError: if the text is too small for a tokenizer.
    """
    source = override or backbone.pretrained
    if source is None:
        model, tokenizer = _from_nothing(backbone, documents)
    else:
        model, tokenizer = _pretrained(source, None if override else backbone.revision, backbone.model_type)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check_targets(recipe: Recipe, folder: Path) -> None:
    """Refuse a recipe whose targets the backbone does not have, before anything is trained.

    Args:
        recipe: all of its stages are looked at.
        folder: the backbone's.

    Raises:
        TargetError: if a target or ignore pattern matches no weight.
    """
    config = AutoConfig.from_pretrained(folder)
    for stage in recipe.stages:
        if stage.pruning is not None:
            with torch.device("meta"):  # names and shapes are enough
                model = OBJECTIVES[stage.objective.kind].auto_class.from_config(config)
            match_targets(model, stage.pruning.targets, stage.pruning.ignore)


def _from_nothing(
    backbone: Backbone, documents: Sequence[Document]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    assert backbone.vocab_size is not None  # noqa: S101 - the recipe's own check, for the type checker
    tokenizer = train_wordpiece(documents, backbone.vocab_size)
    try:
        _check_keys(backbone)
        config = AutoConfig.for_model(
            backbone.model_type,
            **{**backbone.config, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id},
        )
        torch.manual_seed(0)
        model = AutoModelForMaskedLM.from_config(config)  # type: ignore[no-untyped-call]
    except _UNUSABLE as error:
        raise BackboneError(
            f"no masked language model of type {backbone.model_type!r} "
            f"can be made of {backbone.config}: {_one_line(error)}"
        ) from error
    tokenizer.model_max_length = config.max_position_embeddings
    return model, tokenizer


def _check_keys(backbone: Backbone) -> None:
    # transformers keeps a key that it does not know without a word: a misspelt size would be the default.
    config = AutoConfig.for_model(backbone.model_type)
    known = {*config.to_dict(), *config.attribute_map}
    for key in backbone.config:
        check_choice(key, known, f"key of a {backbone.model_type} config")


def _pretrained(
    source: str, revision: str | None, model_type: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        config = AutoConfig.from_pretrained(source, revision=revision)
    except _UNUSABLE as error:
        raise BackboneError(f"backbone {source!r} cannot be loaded: {_one_line(error)}") from error
    if config.model_type != model_type:
        raise BackboneError(
            f"backbone {source!r} is a {config.model_type}, the recipe is for a {model_type}: "
            "choose a recipe for that architecture, or another backbone"
        )
    try:
        model, loaded = AutoModelForMaskedLM.from_pretrained(
            source, revision=revision, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    except _UNUSABLE as error:
        raise BackboneError(f"backbone {source!r} cannot be loaded: {_one_line(error)}") from error
    if not tokenizer.is_fast or None in (
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.mask_token_id,
    ):
        raise BackboneError(f"backbone {source!r} needs a fast tokenizer with [CLS], [SEP] and [MASK] tokens")
    if loaded["missing_keys"]:
        logger.warning(
            "backbone %r has no weights for %s: they start at random",
            source,
            ", ".join(sorted(loaded["missing_keys"])),
        )
    # Without its files, transformers makes up a tokenizer that knows its special tokens and nothing else.
    if not len(tokenizer.all_special_ids) < len(tokenizer) <= config.vocab_size:
        raise BackboneError(
            f"backbone {source!r} has a vocabulary of {config.vocab_size}, its tokenizer one of "
            f"{len(tokenizer)}: add the tokenizer's files that belong to the model"
        )
    return model, tokenizer


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
