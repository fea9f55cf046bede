"""Text files: the raw texts in txt, jsonl and parquet files, plain or compressed."""

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.text_addresses import TextFile

FIELD = "text"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Rows of parquet that are in memory at once.
ROWS_AT_ONCE = 256
_BUFFER = 1 << 20


@dataclass(frozen=True)
class TextFormat:
    """How text lies in a file.

    Args:
        kind: one text, a text in each line, or a column of texts.
        compression: of the whole file.
        growth: bytes of text to a byte of file, about; what is planned before a file is read needs it.
    """

    kind: Literal["txt", "jsonl", "parquet"]
    compression: Literal["gzip", "zstd"] | None = None
    growth: int = 1


TEXT_FORMATS: Mapping[str, TextFormat] = {
    ".txt": TextFormat("txt"),
    ".txt.gz": TextFormat("txt", "gzip", 3),
    ".txt.zst": TextFormat("txt", "zstd", 3),
    ".jsonl": TextFormat("jsonl"),
    ".jsonl.gz": TextFormat("jsonl", "gzip", 3),
    ".jsonl.zst": TextFormat("jsonl", "zstd", 3),
    ".parquet": TextFormat("parquet", None, 2),
}


def text_format(file: TextFile) -> TextFormat:
    """Return the format that a file's ending names.

    Raises:
        CorpusError: if it names none.
    """
    for ending, each in TEXT_FORMATS.items():
        if file.name.lower().endswith(ending):
            return each
    raise CorpusError(f"{file.address}: is none of {', '.join(TEXT_FORMATS)}; convert it or rename it")


def text_bytes(file: TextFile) -> int:
    """Return about how many bytes of text a file holds, by its size and ending.

    Raises:
        CorpusError: if its ending names no format.
    """
    return file.size * text_format(file).growth


def read_rows(file: TextFile) -> Iterator[tuple[int | None, str]]:
    """Yield each raw text of a file with its line or row number, or None where the file is one text.

    Raises:
        CorpusError: if the file is missing, empty, binary, of another format, or broken.
    """
    kind = text_format(file).kind
    check_not_empty(file)
    if kind == "parquet":
        with open_parquet(file) as parquet:
            for number, text in parquet_rows(parquet, range(parquet.num_row_groups), file):
                yield number, text
        return
    with open_text(file) as lines:
        if kind == "txt":
            yield None, decode(lines.read().removeprefix(BYTE_ORDER_MARK), lambda: file.address)
            return
        for number, line in enumerate(lines, start=1):
            raw = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            row = parse_json_row(raw, partial("{}, line {}".format, file.address, number))
            if row is not None:
                yield number, row


def check_not_empty(file: TextFile) -> None:
    """Raise a CorpusError where a file has no byte."""
    if file.size == 0:
        raise CorpusError(f"{file.address}: is empty; give a file with text in it")


@contextlib.contextmanager
def open_text(file: TextFile) -> Iterator[BinaryIO]:
    """Open the bytes of a txt or jsonl file, decompressed; what is not compressed can be sought in.

    Raises:
        CorpusError: inside the block too, if the file cannot be read, or is broken.
    """
    compression = text_format(file).compression
    with read_errors(file, compression), file.open() as raw:
        if compression == "gzip":
            with gzip.open(raw, "rb") as unpacked:
                yield cast(BinaryIO, unpacked)
        elif compression == "zstd":
            # Arrow's, as Python has none of its own before 3.14.
            with io.BufferedReader(pa.CompressedInputStream(raw, "zstd"), _BUFFER) as unpacked_zstd:
                yield cast(BinaryIO, unpacked_zstd)
        elif file.is_remote:
            with io.BufferedReader(raw, _BUFFER) as buffered:  # type: ignore[type-var]
                yield cast(BinaryIO, buffered)
        else:
            yield raw


@contextlib.contextmanager
def open_parquet(file: TextFile) -> Iterator[pq.ParquetFile]:
    """Open a parquet file with a column ``text``.

    Raises:
        CorpusError: inside the block too, if the file cannot be read, is broken, or has no such column.
    """
    with read_errors(file, "parquet"), file.open() as raw:
        parquet = pq.ParquetFile(raw)
        schema = parquet.schema_arrow
        if FIELD not in schema.names:
            raise CorpusError(
                f"{file.address}: needs a column {FIELD!r}, got {', '.join(schema.names) or 'none'}"
            )
        kind = schema.field(FIELD).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise CorpusError(f"{file.address}: its column {FIELD!r} must hold strings, got {kind}")
        yield parquet


def parquet_rows(parquet: pq.ParquetFile, groups: range, file: TextFile) -> Iterator[tuple[int, str]]:
    """Yield the texts of row groups, each with its row's number in the file, counted from 1.

    Raises:
        CorpusError: if a row has no text.
    """
    number = sum(parquet.metadata.row_group(group).num_rows for group in range(groups.start))
    # One thread, as a data worker has one core.
    for batch in parquet.iter_batches(ROWS_AT_ONCE, list(groups), [FIELD], use_threads=False):
        for text in batch.column(0).to_pylist():
            number += 1
            if text is None:
                raise CorpusError(f"{file.address}, row {number}: needs a string under {FIELD!r}, got null")
            yield number, text


@contextlib.contextmanager
def read_errors(file: TextFile, form: str | None) -> Iterator[None]:
    """Turn what reading a file raises inside the block into a CorpusError.

    Args:
        file: which is read.
        form: what it must be to be read: ``gzip``, ``zstd``, ``parquet``.

    Raises:
        CorpusError: in one line, with the file's address.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise CorpusError(f"{file.address}: does not exist; check the path") from error
    except (HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise CorpusError(f"{file.address}: cannot be fetched: {' '.join(str(error).split())}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException, OSError) as error:
        # Arrow says what is broken by an OSError without a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise CorpusError(f"{file.address}: cannot be read: {error.strerror or error}") from error
        said = " ".join(str(error).split())
        raise CorpusError(
            f"{file.address}: is not a whole {form} file ({said}); fetch or make it again"
        ) from error


def parse_json_row(line: bytes, where: Callable[[], str]) -> str | None:
    """Return the text of a line of JSON, None of a blank one.

    Args:
        line: its bytes.
        where: names the line in a message.

    Raises:
        CorpusError: if it is binary, not UTF-8, not JSON, or has no string under ``text``.
    """
    row_text = decode(line, where)
    if not row_text.strip():
        return None
    try:
        row = json.loads(row_text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{where()}: is not JSON ({error}); each line holds one object with {FIELD!r}"
        ) from error
    if not isinstance(row, dict) or not isinstance(row.get(FIELD), str):
        raise CorpusError(f"{where()}: needs an object with a string under {FIELD!r}, got {_described(row)}")
    return str(row[FIELD])


def decode(raw: bytes, where: Callable[[], str]) -> str:
    """Return UTF-8 text.

    Raises:
        CorpusError: if it is binary or not UTF-8.
    """
    if b"\0" in raw:
        raise CorpusError(f"{where()}: is binary (it has NUL bytes); give UTF-8 text")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where()}: is not UTF-8 (byte {error.start}); convert it to UTF-8") from error


def _described(row: object) -> str:
    if not isinstance(row, dict):
        return f"a {type(row).__name__}"
    if FIELD in row:
        return f"a {type(row[FIELD]).__name__} there"
    return f"the fields {', '.join(sorted(row)) or 'none'}"
