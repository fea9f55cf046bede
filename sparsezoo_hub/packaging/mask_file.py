"""The mask file: one bit-packed uint8 tensor per locked weight, shapes and digest in the metadata."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from sparsezoo_hub.core.masks import mask_digest, pack_mask, unpack_mask
from sparsezoo_hub.errors import MaskError, PackageError
from sparsezoo_hub.packaging.tensor_file import read_tensor_file

# One key holds everything: safetensors does not promise an order among several, and the file's bytes must
# follow from the masks alone.
_KEY = "pattern_lock"
_REMEDY = "fetch or package the model again"


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    digest: str
    # A size is what an address can hold, so that messages about it stay short.
    shapes: dict[str, tuple[Annotated[int, Field(ge=0, lt=1 << 63)], ...]]


def write_masks(path: Path, masks: Mapping[str, Tensor]) -> None:
    """Write ``masks`` to ``path``, the same bytes for the same masks in any order.

    Args:
        path: the file to write.
        masks: bool, True = kept, by component name (see ``core.targets``), each of its weight's shape.
    """
    names = sorted(masks)
    header = _Header(digest=mask_digest(masks), shapes={name: tuple(masks[name].shape) for name in names})
    save_file(
        {name: pack_mask(masks[name]) for name in names}, path, metadata={_KEY: header.model_dump_json()}
    )


def read_masks(path: Path) -> dict[str, Tensor]:
    """Return the masks of the file by component name.

    Args:
        path: what ``write_masks`` wrote.

    Returns:
        Bool masks, True = kept, each of its weight's shape, on the CPU.

    Raises:
        PackageError: if the file is missing, truncated, no safetensors file, has no mask metadata, or its
            shapes, tail bits or digest do not fit.
    """
    metadata, packed = read_tensor_file(path, "a mask file", _REMEDY)
    header = _header(path, metadata)
    if header.shapes.keys() != packed.keys():
        differing = sorted(header.shapes.keys() ^ packed.keys())
        raise PackageError(
            f"{path}: the metadata's shapes and the tensors differ in {len(differing)} names, the first is "
            f"{differing[0]!r}; {_REMEDY}"
        )
    masks = {name: _mask(path, name, packed[name], shape) for name, shape in header.shapes.items()}
    digest = mask_digest(masks)
    if digest != header.digest:
        raise PackageError(
            f"{path}: the masks have digest {digest}, the metadata says {header.digest!r:.90}; {_REMEDY}"
        )
    return masks


def _header(path: Path, metadata: Mapping[str, str]) -> _Header:
    if _KEY not in metadata:
        raise PackageError(
            f"{path} is a safetensors file without the {_KEY!r} metadata of a mask file, got "
            f"{sorted(metadata)}; name the package's masks.safetensors"
        )
    try:
        return _Header.model_validate(json.loads(metadata[_KEY]))
    except (ValidationError, ValueError, RecursionError) as error:
        raise PackageError(
            f"{path}: the {_KEY!r} metadata is malformed: {' '.join(str(error).split())}; {_REMEDY}"
        ) from None


def _mask(path: Path, name: str, packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    # A claimed shape allocates nothing before it fits the bytes that are there.
    size = -(-math.prod(shape) // 8)
    if size != packed.numel():
        raise PackageError(
            f"{path}: {name} of shape {shape} takes {size} bytes, got {packed.numel()}; {_REMEDY}"
        )
    try:
        return unpack_mask(packed, shape)
    except MaskError as error:
        raise PackageError(f"{path}: {name}: {error}; {_REMEDY}") from None
