"""Stage models: the model and the teacher of a stage, loaded and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core.fake_quantization import apply_ranges, tensors_ranges
from sparsezoo_hub.core.pattern_lock import PatternLock, is_locked, trusting_zeros
from sparsezoo_hub.core.quantization_names import RANGES_FILE
from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.errors import LockError, MaskError, RecipeError
from sparsezoo_hub.training.backbones import drop_stage_layers, num_positions
from sparsezoo_hub.training.objectives import OBJECTIVES

# What different architectures call the dropout of attention probabilities.
_ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")


@dataclass(frozen=True)
class Sources:
    """Where a stage's models lie.

    Args:
        model: a folder or Hub id, what is trained.
        teacher: the same of what is learned from.
        tokenizer: of both.
    """

    model: str
    teacher: str | None
    tokenizer: PreTrainedTokenizerBase


def load_student(stage: Stage, sources: Sources, labels: tuple[str, ...]) -> PreTrainedModel:
    """Return the model that a stage trains, with the layers it keeps, locked if it says so.

    Args:
        stage: what to do.
        sources: of the models.
        labels: of the task, in the order of the head's outputs.

    Raises:
        LockError: if the pattern is to be locked and the model has none.
        MaskError: if the model's zeros are not those that it promises.
        RecipeError: if the model does not take as many tokens, or has not the layers that are kept.
    """
    try:
        model = _load(stage, sources.model, labels, torch.float32)[0]
    except MaskError:
        # A pruned pooler that this head does not have is missing from the digest too. With the head that it
        # was saved with, the zeros must be those that were promised.
        architecture = (AutoConfig.from_pretrained(sources.model).architectures or [""])[0]
        getattr(transformers, architecture, AutoModel).from_pretrained(sources.model)
        with trusting_zeros():
            model = _load(stage, sources.model, labels, torch.float32)[0]
    if stage.lock and not is_locked(model):
        raise LockError(
            f"stage {stage.name} locks the pattern of {sources.model}, which has none: prune it first"
        )
    drop_stage_layers(stage, model)
    if not stage.lock:
        PatternLock.unlock(model)
    longest = min(num_positions(model.config), sources.tokenizer.model_max_length)
    if stage.max_length > longest:
        raise RecipeError(
            f"stage {stage.name}: max_length {stage.max_length} is more than the {longest} tokens that the "
            "model takes; lower it, or choose a backbone with more positions"
        )
    return model


def load_teacher(stage: Stage, sources: Sources, labels: tuple[str, ...]) -> PreTrainedModel | None:
    """Return the model that a stage learns from, in the dtype that it was saved in; None without one.

    Args:
        stage: what to do.
        sources: of the models.
        labels: of the task, in the order of the head's outputs.

    Raises:
        RecipeError: if the teacher was trained for something else, or has another vocabulary.
    """
    source = sources.teacher
    if source is None:
        return None
    check_vocabulary(stage.name, source, sources.tokenizer)
    model, missing = _load(stage, source, labels, "auto")
    if missing:
        raise RecipeError(
            f"stage {stage.name}: the teacher {source} has no {min(missing)}: it was not "
            f"trained for {stage.objective.kind}; name a stage of that objective as the teacher"
        )
    return model


def load_finished(stage: Stage, folder: Path) -> PreTrainedModel:
    """Return the model that a stage was finished with, which computes as int8 does if it was quantized."""
    model: PreTrainedModel = OBJECTIVES[stage.objective.kind].auto_class.from_pretrained(folder)
    if stage.quantization is not None:
        apply_ranges(model, tensors_ranges(load_file(folder / RANGES_FILE)))
    return model


def check_vocabulary(stage: str, model: str | Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a model whose tokens are not the run's: it would read, and teach, other words.

    Args:
        stage: its name, for the message.
        model: a folder or Hub id.
        tokenizer: of the run.

    Raises:
        RecipeError: if the vocabularies differ.
    """
    theirs = AutoTokenizer.from_pretrained(model).get_vocab()
    ours = tokenizer.get_vocab()
    if theirs == ours:
        return
    others = sum(ours.get(token) != index for token, index in theirs.items())
    raise RecipeError(
        f"stage {stage}: {model} has {len(theirs)} tokens, {others} of which the {len(ours)} of "
        "the packaged model do not have or number otherwise; a recipe's models share one vocabulary"
    )


def _load(
    stage: Stage, source: str, labels: tuple[str, ...], dtype: torch.dtype | str
) -> tuple[PreTrainedModel, set[str]]:
    arguments: dict[str, Any] = {}
    if labels:
        arguments["id2label"] = dict(enumerate(labels))
        arguments["label2id"] = {label: index for index, label in enumerate(labels)}
    distillation = stage.distillation
    if distillation is not None and distillation.attentions:
        arguments["attn_implementation"] = "eager"  # the others do not return probabilities
        config = AutoConfig.from_pretrained(source)
        # transformers returns the probabilities after dropout: with it they would be no distribution.
        arguments |= {name: 0.0 for name in _ATTENTION_DROPOUTS if hasattr(config, name)}
    model: PreTrainedModel
    model, loading = OBJECTIVES[stage.objective.kind].auto_class.from_pretrained(
        source, dtype=dtype, output_loading_info=True, **arguments
    )
    if distillation is not None:
        model.config.output_hidden_states = bool(distillation.hidden_states)
        model.config.output_attentions = bool(distillation.attentions)
    return model, set(loading["missing_keys"])
