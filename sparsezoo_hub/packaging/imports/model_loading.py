"""Model loading: a model of transformers from decoded tensors, every weight accounted for."""

import re
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core.pattern_lock import QUANT_METHOD
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.architecture import LOCK_BLOCK, model_class
from sparsezoo_hub.packaging.card_template import family_of
from sparsezoo_hub.packaging.imports.checkpoint import Checkpoint, check_values
from sparsezoo_hub.packaging.imports.decoded import Decoded
from sparsezoo_hub.packaging.layout import CONFIG
from sparsezoo_hub.packaging.markdown import one_line
from sparsezoo_hub.packaging.quiet import quiet

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")
_COMPRESSED_TENSORS = "compressed-tensors"
# Where releases of compressed-tensors put their settings.
_SETTINGS = (LOCK_BLOCK, "compression_config", "sparsity_config")
# Heads of pre-training that the architecture of the config has no place for, and counters that old releases
# of transformers stored.
_UNUSED = re.compile(
    r"(?:.*\.)?(?:pooler\.dense|cls\.seq_relationship)\.(?:weight|bias)|.*\.(?:position|token_type)_ids"
)


def load_decoded(checkpoint: Checkpoint, decoded: Decoded) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """Return the model in float32, and the names of tensors that it has no place for.

    Args:
        checkpoint: its config names the architecture.
        decoded: its tensors.

    Raises:
        PackageError: if the architecture is none of ours, or the tensors are not exactly its own: one is
            missing, unknown, of another shape or type, or not finite.
    """
    source = str(checkpoint.folder)
    config = _plain_config(checkpoint)
    found: Any = model_class(config)
    check_values(source, decoded.tensors)
    try:
        with quiet():
            model, report = found.from_pretrained(
                None,
                config=found.config_class.from_dict(config),
                state_dict=dict(decoded.tensors),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # reported, and refused below
                output_loading_info=True,
            )
    except Exception as error:  # whatever transformers raises on a config or on tensors that do not fit
        raise PackageError(f"{source} has no model to load: {one_line(error)}") from None
    for name, stored, expected in sorted(report["mismatched_keys"]):
        raise PackageError(
            f"{source}: {name} has shape {tuple(stored)}, the model of {CONFIG} has {tuple(expected)}: "
            "weights and config are of different models"
        )
    _refuse(
        source,
        "lacks",
        report["missing_keys"],
        "which would be made up at random; the checkpoint is incomplete",
    )
    unused = sorted(name for name in report["unexpected_keys"] if _UNUSED.fullmatch(name))
    unknown = set(report["unexpected_keys"]) - set(unused)
    _refuse(
        source, "has", unknown, "which nothing here reads; remove them if they are no weights of the model"
    )
    _check_loaded(source, model, decoded)
    return model, tuple(unused)


def load_tokenizer(checkpoint: Checkpoint, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a checkpoint, read from its files.

    Raises:
        PackageError: if there is none, or it has more tokens than the model.
    """
    # Without any of these transformers makes up a tokenizer that knows no word.
    if not any((checkpoint.folder / name).is_file() for name in _TOKENIZERS):
        *names, last = _TOKENIZERS
        raise PackageError(
            f"{checkpoint.folder} has no tokenizer ({', '.join(names)} or {last}): put its files there"
        )
    try:
        with quiet():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # whatever transformers raises where files are missing or broken
        raise PackageError(f"{checkpoint.folder} has no tokenizer to load: {one_line(error)}") from None
    size: int = model.config.vocab_size
    if len(tokenizer) > size:
        raise PackageError(
            f"{checkpoint.folder}: the tokenizer has {len(tokenizer)} tokens, the model {size}: it is that "
            "of another model"
        )
    return tokenizer


def _plain_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the config without what says how the weights were stored."""
    config = dict(checkpoint.config)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or family_of(model_type) is None:
        raise PackageError(
            f"{checkpoint.folder / CONFIG}: model_type must be bert, roberta or distilbert, got "
            f"{model_type!r:.80}"
        )
    for key in _SETTINGS:
        settings = config.pop(key, None)
        method = settings.get("quant_method") if isinstance(settings, dict) else None
        if method == QUANT_METHOD:
            raise PackageError(
                f"{checkpoint.folder} is a locked model already: make a package of it "
                "with `sparsezoo-hub package`"
            )
        if method not in (None, _COMPRESSED_TENSORS):
            raise PackageError(
                f"{checkpoint.folder} is quantized by {method!r:.80}: import the model that it was made from"
            )
    return config


def _check_loaded(source: str, model: PreTrainedModel, decoded: Decoded) -> None:
    loaded = model.state_dict()
    for name, tensor in decoded.tensors.items():
        if name in loaded and not torch.equal(loaded[name], tensor.to(loaded[name].dtype)):
            raise PackageError(
                f"{source}: {name} is stored with other values than the weight that it shares: which one is "
                "meant cannot be told; remove one of them"
            )


def _refuse(source: str, verb: str, names: set[str], consequence: str) -> None:
    if names:
        shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")  # noqa: PLR2004 - a short line
        raise PackageError(f"{source} {verb} {len(names)} tensors, {consequence}: {shown}")
