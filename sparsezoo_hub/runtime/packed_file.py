"""The packed file: an encoder as the engine reads it, and the rest of its model, in one safetensors file.

Tensors of the encoder are called ``encoder.<layer>.<linear layer>.<tensor>`` and ``encoder.<layer>.<norm>``,
all others as in the model's state dict. The metadata says the rest. A file that is read stays mapped: nothing
of it is copied, and what is not used is not read.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.tensor_file import read_tensor_file
from sparsezoo_hub.runtime.packed_encoder import (
    ACTIVATIONS,
    LINEARS,
    NORMS,
    EncoderShape,
    PackedEncoder,
    PackedLayer,
)
from sparsezoo_hub.runtime.packed_linear import linear_from

FORMAT = 1
# The one entry of the metadata: with several, their order would not be the same every time.
_KEY = "sparse_engine"
_REMEDY = "fetch or export the model again"
_ENCODER = re.compile(rf"encoder\.(\d{{1,6}})\.({'|'.join((*LINEARS, *NORMS))})(?:\.(.+))?")

Numbers = dict[str, int | float | str]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Shape(_Part):
    hidden_size: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    activation: str
    epsilon: FiniteFloat = Field(ge=0)
    attention: Literal["float32", "bfloat16"]


class _Header(_Part):
    format: Literal[1]
    architecture: str
    shape: _Shape
    layers: list[dict[Literal["projections", "mixed", "up", "down"], Numbers]]


@dataclass(frozen=True)
class PackedFile:
    """What a packed file holds.

    Args:
        architecture: the model's class in transformers.
        encoder: its layers.
        others: every other tensor of the model, by its name in the state dict.
    """

    architecture: str
    encoder: PackedEncoder
    others: Mapping[str, Tensor]


def write_packed_file(path: Path, packed: PackedFile) -> None:
    """Write a packed file, the same bytes for the same content."""
    tensors = dict(packed.others)
    layers: list[dict[str, Numbers]] = []
    for number, layer in enumerate(packed.encoder.layers):
        layers.append({})
        for name in LINEARS:
            linear = getattr(layer, name)
            layers[-1][name] = linear.numbers()
            tensors |= {f"encoder.{number}.{name}.{key}": each for key, each in linear.tensors().items()}
        tensors |= {f"encoder.{number}.{name}": getattr(layer, name) for name in NORMS}
    header = {
        "format": FORMAT,
        "architecture": packed.architecture,
        "shape": asdict(packed.encoder.shape),
        "layers": layers,
    }
    save_file(tensors, path, metadata={_KEY: json.dumps(header, sort_keys=True)})


def is_packed_file(path: Path) -> bool:
    """Return whether there is a file at ``path`` that says to be a packed one, of whatever version."""
    try:
        with safe_open(path, framework="pt") as file:
            return _KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def read_packed_file(path: Path) -> PackedFile:
    """Return what a packed file holds; its tensors lie in the file, mapped into memory.

    Args:
        path: the file; it must not be changed while the tensors are used. To replace it, move another one
            into its place, as everything here does.

    Raises:
        PackageError: if the file cannot be read, or has anything that the kernels cannot be trusted with.
    """
    metadata, tensors = read_tensor_file(path, "a packed model", _REMEDY)
    for name, tensor in tensors.items():
        if tensor.data_ptr() % tensor.element_size():
            raise PackageError(f"{path}: {name} begins between two entries of {tensor.dtype}; {_REMEDY}")
    header = _header(path, metadata)
    others, parts = _sorted_out(tensors)
    try:
        layers = tuple(_layer(number, numbers, parts) for number, numbers in enumerate(header.layers))
        encoder = PackedEncoder(EncoderShape(**header.shape.model_dump()), layers)
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from None
    if parts:
        number, name = min(parts)
        raise PackageError(
            f"{path}: has tensors of layer {number}, {name}, which it does not name; {_REMEDY}"
        )
    return PackedFile(header.architecture, encoder, others)


def _header(path: Path, metadata: Mapping[str, str]) -> _Header:
    if _KEY not in metadata:
        raise PackageError(
            f"{path} is no packed model: it has no {_KEY!r} in its metadata, got {sorted(metadata)}; make "
            "one with sparsezoo-hub export --format sparse"
        )
    try:
        said = json.loads(metadata[_KEY])
        version = said.get("format") if isinstance(said, dict) else None
        if version != FORMAT:
            raise PackageError(
                f"{path} is a packed model of format {version!r:.20}, and format {FORMAT} is known here: "
                "upgrade sparsezoo-hub, or export the model again"
            )
        header = _Header.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise PackageError(
            f"{path}: metadata, {at}: {first['msg']}, got {first['input']!r:.60}; {_REMEDY}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{path}: its metadata is not JSON: {error}; {_REMEDY}") from None
    if header.shape.activation not in ACTIVATIONS:
        raise PackageError(
            f"{path}: the activation function is {header.shape.activation!r:.40}, known are "
            f"{', '.join(ACTIVATIONS)}; {_REMEDY}"
        )
    return header


Parts = dict[tuple[int, str], dict[str, Tensor]]


def _sorted_out(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Parts]:
    """Return the tensors outside of the layers, and those of the layers by layer and component."""
    others, parts = {}, Parts()
    for name, tensor in tensors.items():
        found = _ENCODER.fullmatch(name)
        if found:
            number, component, part = found.groups()
            parts.setdefault((int(number), component), {})[part or ""] = tensor
        else:
            others[name] = tensor
    return others, parts


def _layer(number: int, numbers: Mapping[Any, Numbers], parts: Parts) -> PackedLayer:
    """Return a layer, and take its tensors away from ``parts``."""
    components: dict[str, Any] = {}
    for name in LINEARS:
        where = f"layer {number}, {name}"
        if name not in numbers:
            raise PackageError(f"{where}: the metadata does not say what it is; {_REMEDY}")
        components[name] = linear_from(parts.pop((number, name), {}), numbers[name], where)
    for name in NORMS:
        norm = parts.pop((number, name), {})
        if set(norm) != {""}:
            raise PackageError(f"layer {number}, {name}: one tensor is needed, got {len(norm)}; {_REMEDY}")
        components[name] = norm[""]
    return PackedLayer(**components)
