"""Compact weights, for transport: the kept values and the mask bits, and back to the very same file.

A compact file is a safetensors file of uint8 tensors: ``header`` is the original's header, byte for byte;
``dense/NAME`` are the bytes of a tensor without a mask; ``values/NAME`` those of the kept entries and
``mask/NAME`` the packed bits of a tensor with one. Whatever the dtype, only bytes are moved. Without masks,
as for a dense model, every tensor is there as it is, and the file is no smaller.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from sparsezoo_hub.core.masks import pack_mask, unpack_mask
from sparsezoo_hub.errors import MaskError, PackageError
from sparsezoo_hub.packaging.manifest import hash_file
from sparsezoo_hub.packaging.weights_file import tensor_names

_KEY = "compact_weights"
_LENGTH_BYTES = 8  # a safetensors file begins with the length of its JSON header
REMEDY = "fetch or make the file again"

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class CompactSize:
    """Bytes of a weights file and of its compact form."""

    raw: int
    compact: int

    @property
    def ratio(self) -> float:
        """How many times smaller the compact form is."""
        return self.raw / self.compact


@dataclass(frozen=True)
class _Span:
    """Where a tensor lies in the data of a safetensors file, in bytes."""

    name: str
    shape: tuple[int, ...]
    start: int
    end: int


def write_compact(weights: Path, masks: Mapping[str, Tensor], out: Path) -> CompactSize:
    """Write the compact form of a weights file, and return both sizes.

    Args:
        weights: a safetensors file; it may have been saved under a head, with its prefix.
        masks: bool, True = kept, by component name (see ``core.targets``), each of its weight's shape.
        out: the file to write.

    Raises:
        PackageError: if the weights cannot be read, a mask does not fit, or a weight under a False is not
            exactly +0.0.
    """
    header, data = _read(weights)
    spans = list(_spans(weights, header))
    names = tensor_names(masks, [span.name for span in spans], str(weights))
    mask_of = {name: masks[component] for component, name in names.items()}
    tensors: dict[str, Bytes] = {"header": header}
    for span in spans:
        content = data[span.start : span.end]
        if span.name not in mask_of:
            tensors[f"dense/{span.name}"] = content
        else:
            mask = mask_of[span.name]
            entries = _entries(weights, span, content, mask)
            kept = mask.flatten().cpu().numpy()
            if entries[~kept].any():
                raise PackageError(
                    f"{weights}: {span.name} is not exactly +0.0 everywhere under its mask, so the mask "
                    "cannot stand for its zeros; use PatternLock.prune to zero them"
                )
            tensors[f"values/{span.name}"] = entries[kept].reshape(-1)
            tensors[f"mask/{span.name}"] = pack_mask(mask).numpy()
    # A view into the mapped file is saved as it lies, without a copy of its own.
    save_file(tensors, out, metadata={_KEY: json.dumps({"format": 1, "sha256": hash_file(weights).sha256})})
    return CompactSize(raw=weights.stat().st_size, compact=out.stat().st_size)


def expand_compact(compact: Path, out: Path) -> None:
    """Write the weights file that ``write_compact`` read, bit for bit.

    Args:
        compact: what ``write_compact`` wrote.
        out: the file to write; nothing stays there if the content does not fit.

    Raises:
        PackageError: if the compact file is malformed, or what comes out is not what went in.
    """
    try:
        with safe_open(compact, framework="np") as file:
            sha256 = _sha256(compact, file.metadata() or {})
            put_together(compact, _pieces(compact, file), sha256, out)
    except (OSError, SafetensorError) as error:
        raise PackageError(f"{compact} cannot be expanded to {out}: {error}") from None


def put_together(compact: Path, pieces: Iterable[bytes], sha256: str, out: Path) -> None:
    """Write the pieces that a compact file stands for one after the other.

    Args:
        compact: the compact file, for messages.
        pieces: the content; whatever it raises passes on.
        sha256: of the whole, as the compact file promises it.
        out: the file to write; nothing stays there if anything fails.

    Raises:
        PackageError: if the content is not the one that is promised.
    """
    digest = hashlib.sha256()
    try:
        with out.open("wb") as target:
            for piece in pieces:
                digest.update(piece)
                target.write(piece)
        if digest.hexdigest() != sha256:
            raise PackageError(
                f"{compact} expands to SHA-256 {digest.hexdigest()}, it promises {sha256}; {REMEDY}"
            )
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def read_spans(weights: Path) -> dict[str, tuple[tuple[int, ...], Bytes]]:
    """Return shape and bytes of every tensor of a weights file by name, mapped and not read.

    Raises:
        PackageError: if the file cannot be read as safetensors.
    """
    header, data = _read(weights)
    return {span.name: (span.shape, data[span.start : span.end]) for span in _spans(weights, header)}


def byte_tensor(path: Path, file: Any, name: str) -> Bytes:
    """Return a row of bytes out of an opened compact file.

    Raises:
        PackageError: if it is not there, or something else.
    """
    if name not in file.keys():  # noqa: SIM118 - not a dict
        raise PackageError(f"{path}: {name!r} is missing; {REMEDY}")
    tensor: Bytes = file.get_tensor(name)
    if tensor.dtype != np.uint8 or tensor.ndim != 1:
        raise PackageError(f"{path}: {name!r} must be one row of bytes, got {tensor.dtype}; {REMEDY}")
    return tensor


def _read(path: Path) -> tuple[Bytes, Bytes]:
    try:
        with safe_open(path, framework="np"):
            pass  # the library's own check: a header that fits the file, tensors without gaps
        content = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError, SafetensorError) as error:
        raise PackageError(f"{path} cannot be read as weights: {error}; {REMEDY}") from None
    length = int.from_bytes(content[:_LENGTH_BYTES].tobytes(), "little")
    return content[: _LENGTH_BYTES + length], content[_LENGTH_BYTES + length :]


def _spans(path: Path, header: Bytes) -> Iterator[_Span]:
    try:
        content: dict[str, Any] = json.loads(header[_LENGTH_BYTES:].tobytes())
        spans = [
            _Span(name, tuple(entry["shape"]), *entry["data_offsets"])
            for name, entry in content.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageError(f"{path}: the header of the weights is malformed: {error}; {REMEDY}") from None
    yield from sorted(spans, key=lambda span: (span.start, span.end))


def _entries(path: Path, span: _Span, content: Bytes, mask: Tensor) -> Bytes:
    if tuple(mask.shape) != span.shape or mask.dtype != torch.bool:
        raise PackageError(
            f"{path}: {span.name} has shape {span.shape}, its mask is {tuple(mask.shape)} of {mask.dtype}; "
            "it must be bool and of the same shape"
        )
    if not content.size:
        return content.reshape(0, 1)
    if content.size % mask.numel():
        raise PackageError(f"{path}: {span.name} packs several entries into a byte and cannot have a mask")
    return content.reshape(mask.numel(), -1)


def _sha256(path: Path, metadata: Mapping[str, str]) -> str:
    try:
        content = json.loads(metadata[_KEY])
        if content["format"] != 1:
            raise ValueError(f"format {content['format']}")
        return str(content["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise PackageError(
            f"{path} is no compact weights file: {error!r} in its metadata; {REMEDY}"
        ) from None


def _pieces(path: Path, file: Any) -> Iterator[bytes]:
    names = set(file.keys())
    header = byte_tensor(path, file, "header")
    yield header.tobytes()
    for span in _spans(path, header):
        if f"dense/{span.name}" in names:
            yield byte_tensor(path, file, f"dense/{span.name}").tobytes()
            continue
        values = byte_tensor(path, file, f"values/{span.name}")
        packed = byte_tensor(path, file, f"mask/{span.name}")
        if -(-math.prod(span.shape) // 8) != packed.size:
            raise PackageError(f"{path}: mask of {span.name} does not fit its shape {span.shape}; {REMEDY}")
        try:
            mask = unpack_mask(torch.from_numpy(packed), span.shape).flatten().numpy()
        except MaskError as error:
            raise PackageError(f"{path}: mask of {span.name}: {error}; {REMEDY}") from None
        width = (span.end - span.start) // mask.size if mask.size else 1
        if span.end - span.start != mask.size * width or values.size != int(mask.sum()) * width:
            raise PackageError(f"{path}: values of {span.name} do not fit its mask; {REMEDY}")
        entries = np.zeros((mask.size, width), dtype=np.uint8)
        entries[mask] = values.reshape(-1, width)
        yield entries.tobytes()
