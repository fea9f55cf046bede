"""The architecture of a package: what its config.json says of the model."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.layout import CONFIG
from sparsezoo_hub.packaging.quiet import quiet

LOCK_BLOCK = "quantization_config"


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of the config of the package in ``folder``.

    Raises:
        PackageError: if it is no JSON object.
    """
    path = folder / CONFIG
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}; fetch or package it again") from None
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise PackageError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def model_class(config: dict[str, Any]) -> type[PreTrainedModel]:
    """Return the class that a config names.

    Raises:
        PackageError: if it does not name exactly one model of transformers.
    """
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and len(names) == 1 else None
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    # Only a model of transformers itself: the name comes from a file of somebody else's.
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        raise PackageError(f"{CONFIG}: architectures must name one model of transformers, got {names}")
    return found


def bare_model(folder: Path) -> PreTrainedModel:
    """Return the model of the package in ``folder`` without weights: names and shapes only.

    Raises:
        PackageError: if the config describes no model.
    """
    found: Any = model_class(read_config(folder))
    try:
        with quiet(), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            if hasattr(config, LOCK_BLOCK):
                del config.quantization_config
            model: PreTrainedModel = found._from_config(config)
    except Exception as error:  # whatever transformers raises on a config that does not fit
        raise PackageError(
            f"{CONFIG} describes no model: {' '.join(str(error).split())}; package the model again"
        ) from None
    return model
