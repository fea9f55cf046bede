"""Weights files of any maker: which they are, and their tensors, with nothing unpickled but tensors."""

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.layout import WEIGHTS
from sparsezoo_hub.packaging.manifest import hash_file
from sparsezoo_hub.packaging.markdown import one_line
from sparsezoo_hub.packaging.quiet import quiet
from sparsezoo_hub.packaging.weights_file import read_tensors

_SAFETENSORS = ".safetensors"
# In the order in which transformers looks for them.
_KNOWN = (WEIGHTS, "pytorch_model.bin")
_INDEX = ".index.json"
_OTHER = ("*.safetensors", "*.bin", "*.pt", "*.pth")
# What Trainer and Accelerate write beside the weights.
_OF_TRAINING = re.compile(r"training_args|optimizer|scheduler|scaler|rng_state|random_states")
# Where a training script keeps the state dict among other things.
_INNER = ("state_dict", "model_state_dict", "model")
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LFS_POINTER = b"version https://git-lfs"
_LONGEST_REASON = 200


def weight_files(folder: Path) -> dict[Path, frozenset[str]]:
    """Return the weights files of a folder, and the tensors that an index promises for each.

    Args:
        folder: with ``model.safetensors`` or ``pytorch_model.bin``, whole or in shards with an index, or with
            exactly one other file of weights.

    Raises:
        PackageError: if there is none, or several that may be meant, or an index is broken or lacks a shard.
    """
    for name in _KNOWN:
        if (folder / name).is_file():
            return {folder / name: frozenset()}
        if (folder / f"{name}{_INDEX}").is_file():
            return _shards(folder / f"{name}{_INDEX}")
    others = sorted(
        {path for glob in _OTHER for path in folder.glob(glob) if not _OF_TRAINING.match(path.name)}
    )
    if len(others) != 1:
        got = ", ".join(path.name for path in others) or "none"
        raise PackageError(f"{folder} must have {' or '.join(_KNOWN)}, or one other weights file, got {got}")
    return {others[0]: frozenset()}


def read_weight_file(path: Path, promised: frozenset[str] = frozenset()) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Args:
        path: a safetensors file, or one of ``torch.save`` with tensors by name and nothing else.
        promised: names that must be among them.

    Raises:
        PackageError: if the file is broken or truncated, needs anything but tensors to be unpickled, or lacks
            what was promised.
    """
    _check_content(path)
    tensors = dict(read_tensors(path)) if path.suffix == _SAFETENSORS else _unpickled(path)
    missing = sorted(promised - tensors.keys())
    if missing:
        raise PackageError(
            f"{path} lacks {len(missing)} tensors of the index, {missing[0]} for example: fetch it again"
        )
    odd = [name for name in tensors if one_line(name) != name]
    if odd:
        raise PackageError(f"{path} has a tensor named {odd[0]!r:.80}: no model has such a name")
    return tensors


def _shards(index: Path) -> dict[Path, frozenset[str]]:
    try:
        content = json.loads(index.read_bytes())
        names = content["weight_map"]
        shards: dict[str, set[str]] = {}
        for tensor, shard in names.items():
            if PurePath(shard).name != shard:
                raise ValueError(f"{shard!r} is no file beside it")
            shards.setdefault(shard, set()).add(tensor)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PackageError(f"{index} is no index of shards: {one_line(error)}; fetch it again") from None
    missing = sorted(shard for shard in shards if not (index.parent / shard).is_file())
    if missing:
        raise PackageError(
            f"{index.parent} lacks {len(missing)} of {len(shards)} shards, {missing[0]} for example: "
            "fetch it again"
        )
    return {index.parent / shard: frozenset(shards[shard]) for shard in sorted(shards)}


def _check_content(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise PackageError(f"{path} is a pointer of Git LFS, not the weights: run `git lfs pull` there")
    stored = path.resolve()
    # A large file of the Hub's cache is named by its digest.
    if stored.parent.name == "blobs" and _SHA256.fullmatch(stored.name):
        digest = hash_file(stored).sha256
        if digest != stored.name:
            raise PackageError(
                f"{path} has the digest {digest}, the Hub promised {stored.name}: fetch it again"
            )


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        _check_archive(path)
        with quiet():
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except PackageError:
        raise
    except Exception as error:  # whatever a broken or hostile file makes torch raise
        raise PackageError(f"{path} cannot be read as weights: {_reason(error)}") from None
    inner = next((content[key] for key in _INNER if isinstance(content, dict) and key in content), content)
    if not isinstance(inner, Mapping):
        raise PackageError(
            f"{path} must hold tensors by name, got {type(inner).__name__}: save the model's state_dict()"
        )
    for name, tensor in inner.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise PackageError(
                f"{path} must hold plain tensors by name, got {type(tensor).__name__} as {name!r:.80}: save "
                "the model's state_dict()"
            )
    return {str(name): tensor.detach() for name, tensor in inner.items()}


def _check_archive(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return  # torch's format from before 2020, or no weights at all
    # torch.load itself ignores the checksums of its archive.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise PackageError(f"{path} is broken: the checksum of {broken} in it is wrong; fetch it again")


def _reason(error: Exception) -> str:
    needed = _GLOBAL.search(str(error))
    if needed:
        return (
            f"it wants to run {needed[1]} while it is read, and only tensors are; save the model's "
            "state_dict() where you trust it"
        )
    return f"{one_line(error)[:_LONGEST_REASON] or type(error).__name__}; fetch it again"
