"""Text files: the raw texts in txt, jsonl and jsonl.gz files."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sparsezoo_hub.errors import CorpusError

_FIELD = "text"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_rows(path: Path) -> Iterator[tuple[int | None, str]]:
    """Yield each raw text of a file with its line number, or None where the file is one text.

    Raises:
        CorpusError: if the file is missing, a folder, empty, binary, of another format, or broken.
    """
    try:
        if path.is_dir():
            raise CorpusError(f"{path}: is a folder; name the text files in it")
        endings = [ending for ending in TEXT_FORMATS if path.name.lower().endswith(ending)]
        if not endings:
            raise CorpusError(f"{path}: is none of {', '.join(TEXT_FORMATS)}; convert it or rename it")
        if path.stat().st_size == 0:
            raise CorpusError(f"{path}: is empty; give a file with text in it")
        yield from TEXT_FORMATS[endings[0]](path)
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: does not exist; check the path") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorpusError(
            f"{path}: is not a whole gzip file ({error}); fetch or compress it again"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_txt(path: Path) -> Iterator[tuple[int | None, str]]:
    yield None, _decode(path.read_bytes().removeprefix(_BYTE_ORDER_MARK), f"{path}")


def _read_jsonl(path: Path) -> Iterator[tuple[int | None, str]]:
    with path.open("rb") as lines:
        yield from _read_json_rows(lines, path)


def _read_jsonl_gz(path: Path) -> Iterator[tuple[int | None, str]]:
    with gzip.open(path, "rb") as lines:
        yield from _read_json_rows(lines, path)


def _read_json_rows(lines: Iterator[bytes], path: Path) -> Iterator[tuple[int | None, str]]:
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        row_text = _decode(line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line, where)
        if not row_text.strip():
            continue
        try:
            row = json.loads(row_text)
        except (ValueError, RecursionError) as error:
            raise CorpusError(
                f"{where}: is not JSON ({error}); each line holds one object with {_FIELD!r}"
            ) from error
        if not isinstance(row, dict) or not isinstance(row.get(_FIELD), str):
            raise CorpusError(
                f"{where}: needs an object with a string under {_FIELD!r}, got {_described(row)}"
            )
        yield number, row[_FIELD]


def _decode(raw: bytes, where: str) -> str:
    if b"\0" in raw:
        raise CorpusError(f"{where}: is binary (it has NUL bytes); give UTF-8 text")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where}: is not UTF-8 (byte {error.start}); convert it to UTF-8") from error


def _described(row: object) -> str:
    if not isinstance(row, dict):
        return f"a {type(row).__name__}"
    if _FIELD in row:
        return f"a {type(row[_FIELD]).__name__} there"
    return f"the fields {', '.join(sorted(row)) or 'none'}"


TEXT_FORMATS: Mapping[str, Callable[[Path], Iterator[tuple[int | None, str]]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl_gz,
}
