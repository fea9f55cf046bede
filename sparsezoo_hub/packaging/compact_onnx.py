"""Compact ONNX, for transport: an ONNX file without what the weights file has already, and back again.

The float model has the weights themselves, as they are or transposed: each is told by its name. The int8
model has codes of its own, most of them 0: of those the other bytes stay, and one bit for each.

A compact file is a safetensors file of uint8 tensors: ``literal`` are the bytes that are kept as they are,
``values`` those that are not 0 and ``bits`` where they are; the metadata has the pieces in the file's order.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.compact_weights import (
    REMEDY,
    Bytes,
    CompactSize,
    byte_tensor,
    put_together,
    read_spans,
)
from sparsezoo_hub.packaging.manifest import hash_file

_KEY = "compact_onnx"
_MATRIX = 2
_WORTHWHILE = 1024  # bytes; a smaller tensor is kept as it is
_MOSTLY_ZERO = 0.75  # the largest fraction of other bytes that is worth a bit for each

# What a piece is: literal bytes, a tensor of the weights file (name, transposed), or bytes that are mostly 0.
_Piece = tuple[str, int] | tuple[str, str, bool]


def write_compact_onnx(model: Path, weights: Path, out: Path) -> CompactSize:
    """Write the compact form of an ONNX file, and return both sizes.

    Args:
        model: an ONNX file with its tensors inside; what lies in other files stays there.
        weights: the safetensors file that the model was exported from.
        out: the file to write.

    Raises:
        PackageError: if one of the files cannot be read.
    """
    known = {digest: (name, transposed) for name, transposed, digest in _tensor_digests(weights)}
    pieces: list[_Piece] = []
    literal: list[Bytes] = []
    values: list[Bytes] = []
    bits: list[Bytes] = []
    with _mapped(model) as content:
        end = 0

        def keep_until(start: int) -> None:
            if start > end:
                literal.append(np.frombuffer(content[end:start], np.uint8))
                pieces.append(("literal", start - end))

        for raw in _initializers(model):
            start = content.find(raw, end)
            if start < 0:
                continue
            entries = np.frombuffer(raw, np.uint8)
            name = known.get(hashlib.sha256(raw).digest())
            present = entries != 0
            if name is not None:
                keep_until(start)
                pieces.append(("tensor", *name))
            elif present.mean() <= _MOSTLY_ZERO:
                keep_until(start)
                values.append(entries[present])
                bits.append(np.packbits(present, bitorder="little"))
                pieces.append(("sparse", len(raw)))
            else:
                continue
            end = start + len(raw)
        keep_until(len(content))
    tensors = {"literal": _joined(literal), "values": _joined(values), "bits": _joined(bits)}
    header = {"format": 1, "sha256": hash_file(model).sha256, "pieces": pieces}
    save_file(tensors, out, metadata={_KEY: json.dumps(header)})
    return CompactSize(raw=model.stat().st_size, compact=out.stat().st_size)


def expand_compact_onnx(compact: Path, weights: Path, out: Path) -> None:
    """Write the ONNX file that ``write_compact_onnx`` read, bit for bit.

    Args:
        compact: what ``write_compact_onnx`` wrote.
        weights: the weights file of the same package.
        out: the file to write; nothing stays there if the content does not fit.

    Raises:
        PackageError: if the compact file is malformed, or what comes out is not what went in.
    """
    try:
        with safe_open(compact, framework="np") as file:
            header = _header(compact, file.metadata() or {})
            kept = {name: byte_tensor(compact, file, name) for name in ("literal", "values", "bits")}
    except (OSError, SafetensorError) as error:
        raise PackageError(f"{compact} cannot be read as a compact ONNX file: {error}; {REMEDY}") from None
    put_together(compact, _contents(compact, header["pieces"], kept, weights), header["sha256"], out)


def _contents(compact: Path, pieces: Any, kept: dict[str, Bytes], weights: Path) -> Iterator[bytes]:
    spans = read_spans(weights)
    at = dict.fromkeys(kept, 0)

    def take(name: str, length: int) -> Bytes:
        taken = kept[name][at[name] : at[name] + length]
        if length < 0 or len(taken) != length:
            raise PackageError(f"{compact}: {name!r} is too short for its pieces; {REMEDY}")
        at[name] += length
        return taken

    for piece in pieces:
        match piece:
            case ["literal", int(length)]:
                yield take("literal", length).tobytes()
            case ["tensor", str(name), bool(transposed)] if name in spans:
                shape, content = spans[name]
                yield (_transposed(shape, content) if transposed else content).tobytes()
            case ["sparse", int(length)]:
                packed = take("bits", -(-length // 8))
                present = np.unpackbits(packed, count=length, bitorder="little").astype(bool)
                entries = np.zeros(length, np.uint8)
                entries[present] = take("values", int(present.sum()))
                yield entries.tobytes()
            case _:
                raise PackageError(f"{compact}: {piece!r:.80} is no piece of this model; {REMEDY}")


def _tensor_digests(weights: Path) -> Iterator[tuple[str, bool, bytes]]:
    for name, (shape, content) in read_spans(weights).items():
        if content.size >= _WORTHWHILE:
            if len(shape) == _MATRIX:
                yield name, True, hashlib.sha256(_transposed(shape, content).data).digest()
            yield name, False, hashlib.sha256(content.data).digest()


def _transposed(shape: tuple[int, ...], content: Bytes) -> Bytes:
    if len(shape) != _MATRIX or not content.size:
        return content
    rows, columns = shape
    return np.ascontiguousarray(content.reshape(rows, columns, -1).transpose(1, 0, 2)).reshape(-1)


def _mapped(model: Path) -> mmap.mmap:
    try:
        with model.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise PackageError(f"{model} cannot be read: {error}; {REMEDY}") from None


def _initializers(model: Path) -> Iterator[bytes]:
    try:
        graph = onnx.load(model, load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise PackageError(f"{model} cannot be read as an ONNX model: {error}; {REMEDY}") from None
    for tensor in graph.initializer:
        if len(tensor.raw_data) >= _WORTHWHILE:
            yield tensor.raw_data


def _joined(parts: list[Bytes]) -> Bytes:
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        header = json.loads(metadata[_KEY])
        if header["format"] != 1 or not isinstance(header["pieces"], list):
            raise ValueError(f"format {header['format']}")
        return {"pieces": header["pieces"], "sha256": str(header["sha256"])}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise PackageError(f"{path} is no compact ONNX file: {error!r} in its metadata; {REMEDY}") from None
