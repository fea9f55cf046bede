"""The manifest: every file's hash, the sparsity as measured, the parents, and what was measured.

The manifest has no hash beside it, so it carries its own digest and has exactly one way to be written:
whoever changes a byte of it changes the content, the digest or the form, and ``read_manifest`` notices.
That guards against accidents; against an attacker who rewrites everything, compare the Hub's commit.
"""

import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
)

from sparsezoo_hub.core.quantization_names import Method
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.layout import MANIFEST

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[FiniteFloat, Field(gt=0)]

_CHUNK = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Part):
    """One file: SHA-256 of its content, and its size in bytes."""

    sha256: Sha256
    size: Count


class ComponentEntry(_Part):
    """One pruned weight as counted in the weights file."""

    numel: Count
    zeros: Count
    sparsity: Fraction


class SparsityEntry(_Part):
    """Target and measured sparsity; ``overall`` is over the pruned components together.

    ``target`` is the recipe's final sparsity, the highest if it has several, None for a pattern that the
    recipe did not make. A dense package has no pruned components: no target, 0.0 overall.
    """

    target: Annotated[float, Field(ge=0, lt=1)] | None
    overall: Fraction
    per_component: dict[str, ComponentEntry]


class Parents(_Part):
    """Where the weights come from: the backbone in words, its Hub id if it has one, the teacher stage."""

    backbone: str
    base_model: str | None = None
    teacher: str | None = None


class MaskedLMLoss(_Part):
    """Masked-language-model loss on validation text: the dense teacher's, and this model's."""

    teacher: FiniteFloat | None = None
    student: FiniteFloat | None = None


class TaskResult(_Part):
    """A metric over seeds, on one task (``text-classification``, as the Hub names tasks).

    ``label`` names the model if it is another than this one, for comparison (``dense``); such a result is
    shown in the card but not claimed in its metadata. ``std`` is 0 for a single seed. ``split`` is the part
    of the data set that was measured on.
    """

    task: str
    dataset: str
    metric: str
    mean: FiniteFloat
    std: Annotated[FiniteFloat, Field(ge=0)]
    seeds: tuple[int, ...]
    label: str | None = None
    split: Literal["validation", "test"] = "validation"


class WeightSizes(_Part):
    """Bytes of ``model.safetensors``: as it is, as gzip level 6, and as ``compact_weights`` writes it.

    ``compact`` is None for a dense model, whose compact form is no smaller.
    """

    raw: Count
    gzip: Count
    compact: Count | None


class LatencyEntry(_Part):
    """How long one way of running the model took for a batch: milliseconds, the median and the range."""

    way: str
    batch: Annotated[int, Field(ge=1)]
    length: Annotated[int, Field(ge=1)]
    median: Milliseconds
    fastest: Milliseconds
    slowest: Milliseconds


class Latency(_Part):
    """How fast the model is on one machine.

    ``rounds`` is how often each way ran, in turns with the others; ``note`` says what the times hold that
    a reader might not expect.
    """

    hardware: str
    threads: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    note: str | None = None
    versions: dict[str, str]
    entries: Annotated[tuple[LatencyEntry, ...], Field(min_length=1)]


class Measurements(_Part):
    """What was measured about a model; None and empty where nothing was.

    ``sizes``, ``onnx_max_abs_diff`` and ``onnx_num_texts`` are filled in when the package is written,
    ``latency`` afterwards (see ``record_latency``).
    """

    mlm: MaskedLMLoss | None = None
    results: tuple[TaskResult, ...] = ()
    onnx_max_abs_diff: Annotated[FiniteFloat, Field(ge=0)] | None = None
    onnx_num_texts: Count | None = None
    sizes: WeightSizes | None = None
    train_seconds: Annotated[FiniteFloat, Field(ge=0)] | None = None
    hardware: str | None = None
    latency: Latency | None = None


class QuantizationEntry(_Part):
    """The int8 side of a package: how its ranges were found, how close ONNX Runtime's int8 is to PyTorch's.

    The differences are in standard deviations of the outputs, as in ``Int8Parity``; ``rounding`` is what
    int8 changes, in the mean.
    """

    method: Method
    per_channel: bool
    num_layers: Annotated[int, Field(ge=1)]
    mean_difference: Annotated[FiniteFloat, Field(ge=0)]
    max_difference: Annotated[FiniteFloat, Field(ge=0)]
    rounding: Annotated[FiniteFloat, Field(ge=0)]
    num_texts: Count


class Manifest(_Part):
    """The content of ``manifest.json``; ``files`` has every file of the package but the manifest.

    ``mask_digest`` is None for a dense package, ``quantization`` for one without int8.
    """

    format: Literal[1] = 1
    name: str
    created: AwareDatetime
    files: dict[str, FileEntry]
    sparsity: SparsityEntry
    mask_digest: Digest | None
    parents: Parents
    measurements: Measurements
    quantization: QuantizationEntry | None = None
    versions: dict[str, str]

    @property
    def is_dense(self) -> bool:
        """Whether the package is of a model without a pattern."""
        return self.mask_digest is None

    @field_validator("created")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        if value.utcoffset() != timedelta(0):
            raise ValueError(f"created must be in UTC, got {value.isoformat()}")
        return value

    @field_validator("files")
    @classmethod
    def _inside(cls, value: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in value:
            path = PurePosixPath(name)
            odd = name in (".", MANIFEST) or "\\" in name or "\0" in name
            if odd or path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"{name!r} is no path of another file inside the package")
        return value


def manifest_text(manifest: Manifest) -> str:
    """Return the one text of a manifest: sorted JSON, with ``digest`` over everything else."""
    content = manifest.model_dump(mode="json")
    if manifest.quantization is None:  # as in the manifests from before there was int8
        del content["quantization"]
    if manifest.measurements.latency is None:  # likewise
        del content["measurements"]["latency"]
    return _json({**content, "digest": _digest(content)})


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write ``manifest_text`` to ``path``."""
    path.write_bytes(manifest_text(manifest).encode())


def read_manifest(path: Path) -> Manifest:
    """Return the manifest that ``path`` holds.

    Args:
        path: the ``manifest.json`` itself.

    Raises:
        PackageError: if the file cannot be read, is no manifest, or was changed since it was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PackageError(
            f"{path} is missing: {path.parent} is no package, name a package's folder"
        ) from None
    except OSError as error:
        raise PackageError(f"{path} cannot be read as a manifest: {error}") from None
    return parse_manifest(content, str(path))


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Return the manifest that the bytes of a ``manifest.json`` hold.

    Args:
        content: the file's.
        where: it comes from, for messages.

    Raises:
        PackageError: if it is no manifest, or was changed since it was written.
    """
    try:
        text = content.decode()
        said: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{where} cannot be read as a manifest: {error}") from None
    if not isinstance(said, dict):
        raise PackageError(f"{where} must hold a JSON object, got {type(said).__name__}")
    digest = said.pop("digest", None)
    try:
        manifest = Manifest.model_validate(said)
    except ValidationError as error:
        raise PackageError(f"{where} is no manifest: {_first_problem(error)}") from None
    if manifest_text(manifest) != text:
        raise PackageError(
            f"{where} was changed after packaging (its digest says {digest!r:.80}); fetch or package it again"
        )
    return manifest


def hash_file(path: Path) -> FileEntry:
    """Return the SHA-256 and the size of a file, read in pieces."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(sha256=digest.hexdigest(), size=size)


def _digest(content: dict[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(_json(content).encode()).hexdigest()}"


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return " ".join(f"{path}: {first['msg']}, got {first['input']!r:.80}{more}".split())
