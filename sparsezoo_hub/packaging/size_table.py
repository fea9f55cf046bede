"""Sizes: parameters, zeros and bytes of a model's weights, plain and compressed (oBERTa, table 18).

Prunable are the weight matrices outside the embeddings. The table's caption says "all non-embedding
parameters", its numbers leave out biases and norms as well: 85,526,016 are 12 layers of 7,077,888, the pooler
and the head.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow
from onnx import numpy_helper

from sparsezoo_hub.core.sparsity_report import ComponentSparsity, measure_sparsity
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.layout import ONNX_INT8_MODEL, WEIGHTS
from sparsezoo_hub.packaging.onnx_int8 import CODES
from sparsezoo_hub.packaging.weights_file import read_tensors, tensor_names

GZIP_LEVEL = 6  # that of the gzip program; 9 takes ten times as long on sparse int8 weights, for a tenth less
ZSTD_LEVEL = 9  # about gzip's sizes, and as fast; 15 takes ten times as long for a few per cent
FORMS = ("size", "gzip", "zstd")

_CHUNK = 2**24  # larger than what either looks back on
_GZIP_FORMAT = 31  # of zlib: a gzip header, and the largest window
_MATRIX = 2


@dataclass(frozen=True)
class WeightsSize:
    """One row of the table.

    Args:
        name: of the model, and of its form if that is not the float weights.
        parameters: float entries of the weights file.
        prunable: entries of weight matrices outside the embeddings.
        zeros: how many of the prunable are zero; in int8, how many became it.
        size: bytes on disk.
        gzip: bytes compressed at ``GZIP_LEVEL``, each file by itself.
        zstd: bytes compressed at ``ZSTD_LEVEL``, each file by itself.
    """

    name: str
    parameters: int
    prunable: int
    zeros: int
    size: int
    gzip: int
    zstd: int

    @property
    def sparsity(self) -> float:
        """Fraction of zeros among the prunable, in [0, 1]."""
        return self.zeros / self.prunable if self.prunable else 0.0

    def compression(self, baseline: "WeightsSize") -> dict[str, float]:
        """Return for each of ``FORMS`` how many times smaller this is than ``baseline`` in the same form."""
        return {form: getattr(baseline, form) / getattr(self, form) for form in FORMS}

    def to_dict(self, baseline: "WeightsSize") -> dict[str, Any]:
        """Return the row as JSON holds it."""
        return {**asdict(self), "sparsity": self.sparsity, "compression": self.compression(baseline)}


def measure_sizes(folder: Path, name: str) -> list[WeightsSize]:
    """Return a row for the float weights in ``folder``, and one for its int8 ONNX model if there is one.

    One tensor or 16 MiB of a file at a time are in memory.

    Args:
        folder: a package, or any folder with ``model.safetensors``.
        name: what the rows call the model.

    Raises:
        PackageError: if the weights or the int8 model cannot be read, or do not fit each other.
    """
    weights = folder / WEIGHTS
    parameters, prunable = _counted(weights)
    rows = [_row(name, parameters, prunable, [weights])]
    quantized = folder / ONNX_INT8_MODEL
    if quantized.exists():
        files = [quantized, *sorted(quantized.parent.glob(f"{quantized.name}.*"))]
        rows.append(_row(f"{name} int8", parameters, _counted_codes(quantized, prunable), files))
    return rows


def _row(
    name: str, parameters: int, prunable: Mapping[str, ComponentSparsity], files: Sequence[Path]
) -> WeightsSize:
    return WeightsSize(
        name=name,
        parameters=parameters,
        prunable=sum(each.numel for each in prunable.values()),
        zeros=sum(each.zeros for each in prunable.values()),
        size=sum(file.stat().st_size for file in files),
        gzip=sum(map(_gzip_size, files)),
        zstd=sum(map(_zstd_size, files)),
    )


def _counted(weights: Path) -> tuple[int, dict[str, ComponentSparsity]]:
    parameters, prunable = 0, {}
    for name, tensor in read_tensors(weights):
        if not tensor.is_floating_point():  # position numbers, as older models keep them
            continue
        parameters += tensor.numel()
        if tensor.ndim >= _MATRIX and "embeddings." not in name:
            (prunable[name],) = measure_sparsity({name: tensor})
    return parameters, prunable


def _counted_codes(path: Path, prunable: Mapping[str, ComponentSparsity]) -> dict[str, ComponentSparsity]:
    """Return the counts of ``prunable``, those of what is int8 in the ONNX file taken from its codes."""
    counted = dict(prunable)
    try:
        codes = {component: (numel, zeros) for component, numel, zeros in _codes(path)}
    except Exception as error:  # onnx, protobuf and numpy have errors of their own
        raise PackageError(
            f"{path} cannot be read as ONNX: {' '.join(str(error).split())}; export it again"
        ) from None
    for component, name in tensor_names(codes, prunable, str(path.parents[1] / WEIGHTS)).items():
        numel, zeros = codes[component]
        if numel != prunable[name].numel:
            raise PackageError(
                f"{path}: {component} has {numel} entries, {prunable[name].numel} in {WEIGHTS}; "
                "one of the two belongs to another model: export it again"
            )
        counted[name] = ComponentSparsity(name, numel, zeros)
    return counted


def _codes(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield component, entries and zeros of every weight that the model dequantizes."""
    graph = onnx.load(path, load_external_data=False).graph
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        # Inputs of layers are dequantized too, but are no constants.
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        codes = numpy_helper.to_array(constants[node.input[0]], str(path.parent))
        zero_point = np.zeros((), codes.dtype)
        if len(node.input) > _MATRIX and node.input[_MATRIX]:
            zero_point = numpy_helper.to_array(constants[node.input[_MATRIX]], str(path.parent))
        if zero_point.size > 1:
            shape = [1] * codes.ndim
            shape[next((each.i for each in node.attribute if each.name == "axis"), 1)] = -1
            zero_point = zero_point.reshape(shape)
        component = node.input[0].removesuffix(CODES)
        yield component, codes.size, codes.size - int(np.count_nonzero(codes != zero_point))


def _gzip_size(path: Path) -> int:
    compressor = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_FORMAT)
    return sum(len(compressor.compress(chunk)) for chunk in _chunks(path)) + len(compressor.flush())


def _zstd_size(path: Path) -> int:
    # Each chunk is a frame of its own, and frames one after the other are a zstd file.
    codec = pyarrow.Codec("zstd", ZSTD_LEVEL)
    return sum(codec.compress(chunk).size for chunk in _chunks(path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
