"""Packed models: a sparse model as a folder, which is loaded by mapping one file."""

import copy
import importlib.metadata
import inspect
import json
import tempfile
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from sparsezoo_hub.errors import BackboneError, PackageError, write_errors
from sparsezoo_hub.packaging.architecture import LOCK_BLOCK, read_config
from sparsezoo_hub.packaging.layout import CONFIG, EXPORT, SPARSE_MODEL, WEIGHTS
from sparsezoo_hub.runtime.encoder_packing import ARCHITECTURES, encoder_shape
from sparsezoo_hub.runtime.packed_encoder import EncoderShape
from sparsezoo_hub.runtime.packed_file import PackedFile, is_packed_file, read_packed_file, write_packed_file
from sparsezoo_hub.runtime.sparse_encoder import replace_layers, sparse_encoder_of

EXPORT_FORMAT = "sparse"
# The name of the packed file in its folder. It is not that of transformers' own weights, which would be
# loaded without the layers, and those made up at random.
PACKED_FILE = Path(SPARSE_MODEL).name

_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
_LIBRARIES = ("sparsezoo_hub", "torch", "transformers")
_FILLING = (Tensor.normal_, Tensor.uniform_)
_REMEDY = "fetch or export the model again"


def save_packed(model: PreTrainedModel, folder: Path) -> None:
    """Write a sparse model into a folder: the packed file, ``config.json``, and what transformers exports.

    Each file is written aside and moved into place, the packed one last. A packed model that is in the
    folder is replaced, whoever has it loaded keeps the old one; other files stay.

    Args:
        model: of ``SparseModel``.
        folder: is created if it is not there.

    Raises:
        BackboneError: if the model is no sparse one, or of a class that transformers does not have.
        PackageError: if there is another model in the folder, or the disk refuses.
    """
    packed_file(model)  # refuses what cannot be saved before anything is written
    with write_errors(folder):
        _check_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".packed.", dir=folder) as aside:
            staging = Path(aside)
            _saved_config(model).save_pretrained(staging)
            (staging / EXPORT).write_text(_export_manifest(model), encoding="utf-8")
            write_packed(model, staging / PACKED_FILE)
            # safetensors writes for its owner only; this file is for whom the user's umask lets read others.
            (staging / PACKED_FILE).chmod((staging / EXPORT).stat().st_mode)
            for name in (CONFIG, EXPORT, PACKED_FILE):
                (staging / name).replace(folder / name)


def write_packed(model: PreTrainedModel, path: Path) -> None:
    """Write the packed file of a sparse model.

    Raises:
        BackboneError: if the model is no sparse one, or of a class that transformers does not have.
    """
    write_packed_file(path, packed_file(model))


def packed_file(model: PreTrainedModel) -> PackedFile:
    """Return what the packed file of a sparse model holds; tensors that are tied, once.

    Raises:
        BackboneError: if the model is no sparse one, or of a class that transformers does not have.
    """
    layers = sparse_encoder_of(model)
    name = type(model).__name__
    if layers is None:
        raise BackboneError(f"this {name} is no sparse model: make one with SparseModel.from_model")
    if getattr(transformers, name, None) is not type(model):
        raise BackboneError(f"{name} is no class of transformers, so nobody could load it: save another one")
    return PackedFile(
        architecture=name,
        encoder=layers.encoder,
        others={names[0]: tensor.detach().contiguous() for names, tensor in _tied(model)},
    )


def export_metadata(model: PreTrainedModel) -> dict[str, Any]:
    """Return what transformers' exporters record about a sparse model."""
    known = inspect.signature(model.forward).parameters
    return {
        "architecture": type(model).__name__,
        "packages": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "export_dtype": "float32",
        "export_device": "cpu",
        "kwargs": {name: {} for name in _INPUTS if name in known},
    }


def load_packed(path: Path) -> PreTrainedModel:
    """Return the model of a packed file and the ``config.json`` beside it; the file is mapped, not read.

    Args:
        path: the packed file.

    Raises:
        PackageError: if a file cannot be read, they do not fit each other, or the packed file has anything
            that the kernels cannot be trusted with.
    """
    packed = read_packed_file(path)
    model = _empty_model(path, packed)
    replace_layers(model, packed.encoder)
    _fill(path, model, packed.others)
    own_saving(model)
    model.train(False).requires_grad_(False)
    return model


def own_saving(model: PreTrainedModel) -> None:
    """Let ``model.save_pretrained`` write the packed model: transformers' own would leave its layers out."""
    vars(model)["save_pretrained"] = types.MethodType(_save_pretrained, model)


def _save_pretrained(
    model: PreTrainedModel, save_directory: str | Path, *, max_shard_size: int | str | None = None
) -> None:
    """Write the packed model into a folder.

    Args:
        model: a sparse one.
        save_directory: as in ``save_packed``.
        max_shard_size: given by ``push_to_hub``; a packed model is one file.
    """
    del max_shard_size
    save_packed(model, Path(save_directory))


def _check_free(folder: Path) -> None:
    if (folder / WEIGHTS).exists():
        raise PackageError(
            f"{folder} has the weights of a model ({WEIGHTS}): choose another folder, for example "
            f"{folder / Path(SPARSE_MODEL).parent}"
        )
    if (folder / EXPORT).exists() and not is_packed_file(folder / PACKED_FILE):
        raise PackageError(f"{folder} has an export of another format ({EXPORT}): choose another folder")


def _saved_config(model: PreTrainedModel) -> Any:
    config: Any = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = torch.float32
    if hasattr(config, LOCK_BLOCK):  # a packed model cannot be trained: there is nothing to lock
        del config.quantization_config
    return config


def _export_manifest(model: PreTrainedModel) -> str:
    """Return what ``transformers.exporters.ExportedModel`` reads."""
    metadata = {**export_metadata(model), "export_config": {"export_format": EXPORT_FORMAT}}
    components = {"model": {"file": PACKED_FILE, "metadata": metadata}}
    content = {"schema_version": 1, "export_format": EXPORT_FORMAT, "components": components}
    return json.dumps(content, indent=2) + "\n"


def _tied(model: nn.Module) -> Iterator[tuple[list[str], Tensor]]:
    """Return every tensor of the state dict once, with all names that it has there."""
    groups: dict[int, tuple[list[str], Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), ([], tensor))[0].append(name)
    yield from groups.values()


def _empty_model(path: Path, packed: PackedFile) -> PreTrainedModel:
    """Return the model without weights and with one layer, whose shape is that of the packed ones."""
    found = getattr(transformers, packed.architecture, None)
    config_class: Any = getattr(found, "config_class", None)
    known = isinstance(found, type) and issubclass(found, PreTrainedModel) and config_class is not None
    # Only a model of transformers itself: the name comes from a file of somebody else's.
    if not known or config_class.model_type not in ARCHITECTURES:
        raise PackageError(
            f"{path}: its metadata names the architecture {packed.architecture!r:.60}, which is none of "
            f"transformers' models of {', '.join(ARCHITECTURES)}; {_REMEDY}"
        )
    content = read_config(path.parent)
    if content.get("model_type") != config_class.model_type:
        raise PackageError(
            f"{path.parent / CONFIG} is of the model type {content.get('model_type')!r:.40}, {path.name} of "
            f"{config_class.model_type}: they belong to different models; {_REMEDY}"
        )
    content.pop(LOCK_BLOCK, None)
    try:
        config = config_class.from_dict(content)
        num_layers = config.num_hidden_layers
        config.num_hidden_layers = 1
        with torch.device("meta"), _NotFilled():
            model: PreTrainedModel = found._from_config(config, dtype=torch.float32)  # type: ignore[union-attr]
        shape = encoder_shape(model)
    except Exception as error:  # whatever transformers raises on a config that makes no sense
        raise PackageError(
            f"{path.parent / CONFIG} describes no model: {' '.join(str(error).split()):.300}; {_REMEDY}"
        ) from None
    config.num_hidden_layers = num_layers
    _check_shape(path, shape, num_layers, packed)
    return model


class _NotFilled(TorchFunctionMode):
    """Leaves out what fills tensors at random: on the meta device it fills nothing, and takes its time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        return args[0] if func in _FILLING else func(*args, **(kwargs or {}))


def _check_shape(path: Path, shape: EncoderShape, num_layers: int, packed: PackedFile) -> None:
    # A configuration says nothing of the dtype of attention.
    attention = packed.encoder.shape.attention
    said = {**vars(shape), "attention": attention, "num_layers": num_layers}
    held = {**vars(packed.encoder.shape), "num_layers": len(packed.encoder.layers)}
    for name, value in held.items():
        if said[name] != value:
            raise PackageError(
                f"{path} has {name} {value}, {CONFIG} beside it says {said[name]}: they belong to different "
                f"models; {_REMEDY}"
            )


def _fill(path: Path, model: PreTrainedModel, tensors: Mapping[str, Tensor]) -> None:
    """Give the empty model its tensors, one for all that are tied, and the buffers that are in no file."""
    unknown = set(tensors)
    chosen = []
    for names, empty in _tied(model):
        stored = [name for name in names if name in tensors]
        if len(stored) != 1:
            raise PackageError(
                f"{path}: one tensor must be called {' or '.join(names)}, got {len(stored)}; {_REMEDY}"
            )
        tensor = tensors[stored[0]]
        if tensor.shape != empty.shape or tensor.dtype != empty.dtype:
            raise PackageError(
                f"{path}: {stored[0]} has {tuple(tensor.shape)} entries of {tensor.dtype}, needs "
                f"{tuple(empty.shape)} of {empty.dtype}; {_REMEDY}"
            )
        unknown.remove(stored[0])
        filled = nn.Parameter(tensor, requires_grad=False) if isinstance(empty, nn.Parameter) else tensor
        chosen.append((names, filled))
    if unknown:
        raise PackageError(f"{path}: {min(unknown)} is no tensor of the model; {_REMEDY}")
    # Now that all sizes are those of tensors that are there, and before the weights, which stay as they are.
    _make_buffers(model)
    for names, filled in chosen:
        for name in names:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, filled)


def _make_buffers(model: PreTrainedModel) -> None:
    """Make the buffers that are in no file, by transformers' own rule; the model has no weights yet."""
    for module in model.modules():
        names = module._non_persistent_buffers_set
        for name in names:
            setattr(module, name, torch.zeros_like(getattr(module, name), device="cpu"))
        if names:
            model._init_weights(module)  # type: ignore[no-untyped-call]
