"""A checkpoint: config and tensors of a folder, read without running anything of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.architecture import read_config
from sparsezoo_hub.packaging.imports.weight_files import read_weight_file, weight_files
from sparsezoo_hub.packaging.layout import CONFIG, MANIFEST, MASKS

# Where a model of SparseZoo has its checkpoint.
_ZOO_FOLDER = "training"
# Of a model that was wrapped for training on several devices.
_WRAPPER = "module."
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Checkpoint:
    """What lies in a folder, as it is stored.

    Args:
        given: the folder that was named.
        folder: the one with config and weights: the same, or its ``training``.
        config: of ``config.json``.
        files: names of the weights files.
        tensors: of all files, by their stored names.
    """

    given: Path
    folder: Path
    config: Mapping[str, Any]
    files: tuple[str, ...]
    tensors: Mapping[str, Tensor]


def read_checkpoint(given: Path) -> Checkpoint:
    """Return the checkpoint in a folder.

    Args:
        given: a folder as ``save_pretrained`` writes it, or a model of SparseZoo with such a folder in it.

    Raises:
        PackageError: if there is none, it is a package already, or a file is missing or broken.
    """
    folder = _checkpoint_folder(given)
    files = weight_files(folder)
    tensors: dict[str, Tensor] = {}
    for path, promised in files.items():
        for name, tensor in read_weight_file(path, promised).items():
            if name in tensors:
                raise PackageError(
                    f"{path} has {name}, which another file has too: keep the files of one model"
                )
            tensors[name] = tensor
    if not tensors:
        raise PackageError(f"{folder} has weights files without a tensor: fetch the checkpoint again")
    if all(name.startswith(_WRAPPER) for name in tensors):
        tensors = {name.removeprefix(_WRAPPER): tensor for name, tensor in tensors.items()}
    names = tuple(path.name for path in files)
    return Checkpoint(given, folder, read_config(folder), names, tensors)


def check_values(source: str, tensors: Mapping[str, Tensor]) -> None:
    """Check that every weight is a finite float of at most 32 bits.

    Args:
        source: what the weights are from, for messages.
        tensors: weights by name; whole numbers and bools are not looked at.

    Raises:
        PackageError: if one is not.
    """
    for name, tensor in tensors.items():
        if name.endswith((".weight", ".bias")) and tensor.dtype not in _DTYPES:
            raise PackageError(
                f"{source}: {name} is {tensor.dtype}, not a float of 16 or 32 bits: save the model in "
                "float32, not quantized, and import that"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            wrong = int((~torch.isfinite(tensor)).sum())
            raise PackageError(
                f"{source}: {name} has {wrong} values that are not finite: the checkpoint is broken, take "
                "another"
            )


def _checkpoint_folder(given: Path) -> Path:
    if not given.is_dir():
        raise PackageError(f"{given} is no folder: name the one with {CONFIG} and the weights")
    for own in (MANIFEST, MASKS):
        if (given / own).exists():
            raise PackageError(
                f"{given} has {own}, so it is a package or a locked model already: use `sparsezoo-hub "
                "verify` or `sparsezoo-hub package`"
            )
    folder = next((each for each in (given, given / _ZOO_FOLDER) if (each / CONFIG).is_file()), None)
    if folder is None:
        raise PackageError(
            f"{given} has no {CONFIG}, and neither has its {_ZOO_FOLDER}: name the folder of a model as "
            "save_pretrained writes it"
        )
    return folder
