"""Backbones: the models and tokenizers that stages start from or learn from, as folders."""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sparsezoo_hub.core.layer_dropping import drop_layers, kept_layers
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe import Parent, Recipe, Stage
from sparsezoo_hub.core.scores import magnitude
from sparsezoo_hub.core.selection import select_masks
from sparsezoo_hub.core.sparsity_targets import sparsity_targets
from sparsezoo_hub.core.structures import check_structure, parse_structure
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.errors import BackboneError, RecipeError
from sparsezoo_hub.training.byte_level_bpe import train_byte_level_bpe
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

_SPECIAL_TOKENS = ("pad", "bos", "eos")
_POSITIONS_BEHIND_PADDING = ("roberta",)


def make_backbone(
    parent: Parent,
    documents: Sequence[Document],
    folder: Path,
    override: str | None = None,
    *,
    next_sentence: bool = False,
    tokenizer_of: Path | None = None,
) -> None:
    """Write a parent's model and tokenizer to ``folder``.

    Args:
        parent: what the recipe asks for.
        documents: the training text, for a tokenizer that starts from nothing.
        folder: where ``from_pretrained`` will find both.
        override: a folder or Hub id that takes the place of the recipe's own model.
        next_sentence: whether a stage needs the head of next sentence prediction.
        tokenizer_of: a parent's folder whose tokenizer a model from nothing shares, so that one may
            teach the other.

    Raises:
        BackboneError: if a pretrained model cannot be loaded, or is of another architecture, or its
            tokenizer does not fit it; if no model can be made of the recipe's config; or if the model is
            another recipe's and nobody said where it lies.
        CorpusError: if the text is too small for a tokenizer.
    """
    auto_class = AutoModelForPreTraining if next_sentence else AutoModelForMaskedLM
    source = override or parent.pretrained
    if source is not None:
        revision = None if override else parent.revision
        model, tokenizer = _pretrained(source, revision, parent.model_type, auto_class)
    elif parent.recipe is not None:
        raise BackboneError(
            f"parent {folder.name} is what the recipe {parent.recipe} makes: run that one, "
            f"then give its package with --backbone {folder.name}=FOLDER (or a Hub id)"
        )
    else:
        model, tokenizer = _from_nothing(parent, documents, auto_class, tokenizer_of)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check_targets(recipe: Recipe, folder_of: Callable[[str], Path]) -> None:
    """Refuse a recipe that does not fit its parents, before anything is trained.

    Args:
        recipe: all of its stages are looked at.
        folder_of: from a parent's name to its folder.

    Raises:
        RecipeError: if layers are dropped that are not there.
        TargetError: if a target or ignore pattern matches no weight, or two targets want different
            sparsities of one weight.
        SparsityError: if the structure cannot reach its sparsity on a weight.
    """
    configs: dict[str, PretrainedConfig] = {}
    for name in recipe.parents:
        configs[name] = AutoConfig.from_pretrained(folder_of(name))
    for stage in recipe.stages:
        config = copy.deepcopy(configs[stage.model])
        with torch.device("meta"):  # names and shapes are enough
            model = OBJECTIVES[stage.objective.kind].auto_class.from_config(config)
        if stage.layers is not None:
            drop_stage_layers(stage, model)
        if stage.pruning is not None:
            targets = sparsity_targets(model, stage.pruning)
            shapes = {name: module.weight.shape for name, (module, _) in targets.items()}
            for sparsity in {final for _, final in targets.values()}:
                check_structure(parse_structure(stage.pruning.structure), sparsity, shapes)
        configs[stage.name] = model.config


def drop_stage_layers(stage: Stage, model: PreTrainedModel) -> None:
    """Keep the layers that a stage names.

    Raises:
        RecipeError: if the model does not have them.
    """
    kept = stage.layers
    if kept is None:
        return
    try:
        if kept.layers is not None:
            drop_layers(model, kept.layers)
        elif kept.choice is not None and kept.count is not None:
            drop_layers(model, kept_layers(model.config.num_hidden_layers, kept.count, kept.choice))
    except ValueError as error:
        raise RecipeError(f"stage {stage.name}, layers: {error}") from None


def _from_nothing(
    parent: Parent, documents: Sequence[Document], auto_class: Any, tokenizer_of: Path | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    assert parent.vocab_size is not None  # noqa: S101 - the recipe's own check, for the type checker
    tokenizer: PreTrainedTokenizerBase
    if tokenizer_of is not None:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    elif parent.model_type == "roberta":
        tokenizer = train_byte_level_bpe(documents, parent.vocab_size)
    else:
        tokenizer = train_wordpiece(documents, parent.vocab_size)
    try:
        _check_keys(parent)
        config = AutoConfig.for_model(
            parent.model_type,
            **{
                **parent.config,
                "vocab_size": len(tokenizer),
                **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in _SPECIAL_TOKENS},
            },
        )
        torch.manual_seed(0)
        model = auto_class.from_config(config)
    except _UNUSABLE as error:
        raise BackboneError(
            f"no masked language model of type {parent.model_type!r} "
            f"can be made of {parent.config}: {_one_line(error)}"
        ) from error
    if parent.sparsity is not None:
        modules = match_targets(model, ("encoder",))
        scores = {name: magnitude(module.weight) for name, module in modules.items()}
        PatternLock.prune(model, masks := select_masks(scores, parent.sparsity))
        PatternLock.lock(model, masks)
    tokenizer.model_max_length = num_positions(config)
    return model, tokenizer


def num_positions(config: PretrainedConfig) -> int:
    """Return how many tokens a model takes; RoBERTa counts its positions from behind the padding's id."""
    offset = config.pad_token_id + 1 if config.model_type in _POSITIONS_BEHIND_PADDING else 0
    return int(config.max_position_embeddings) - offset


def _check_keys(backbone: Parent) -> None:
    # transformers keeps a key that it does not know without a word: a misspelt size would be the default.
    config = AutoConfig.for_model(backbone.model_type)
    known = {*config.to_dict(), *config.attribute_map}
    for key in backbone.config:
        check_choice(key, known, f"key of a {backbone.model_type} config")


def _pretrained(
    source: str, revision: str | None, model_type: str, auto_class: Any
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
        model, loaded = auto_class.from_pretrained(
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
