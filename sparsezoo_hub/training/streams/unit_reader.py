"""Unit reader: the chunks of a unit, one after the other; a chunk is some documents in a row."""

import codecs
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import MOST_CHARACTERS, clean_text, cut_text, cuts
from sparsezoo_hub.training.streams.units import LARGEST_CHUNK, Segment, Unit
from sparsezoo_hub.training.text_addresses import TextFile
from sparsezoo_hub.training.text_files import (
    BYTE_ORDER_MARK,
    open_parquet,
    open_text,
    parquet_rows,
    parse_json_row,
    text_format,
)

_LEAST_DOCUMENTS = 2  # a random segment of next sentence prediction is of another one
_READ_AT_ONCE = 1 << 16
_HELD_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class RawDocument:
    """A document as it lies in its file.

    Args:
        file: which.
        content: a line of JSON, or a text.
        offset: of a line of JSON, in bytes; what an error needs to count lines.
    """

    file: TextFile
    content: bytes | str
    offset: int = 0

    def texts(self) -> list[str]:
        """Return its clean text: one, several if it is longer than a chunk, none if it is empty.

        Raises:
            CorpusError: if a line is no JSON with a text.
        """
        raw = self.content
        text = parse_json_row(raw, self._where) if isinstance(raw, bytes) else raw
        cleaned = clean_text(text or "")
        if len(cleaned) > LARGEST_CHUNK:
            return [piece for piece in cut_text(cleaned, MOST_CHARACTERS) if piece]
        return [cleaned] if cleaned else []

    def _where(self) -> str:
        return f"{self.file.address}, line {line_number(self.file, self.offset)}"


class UnitReader:
    """Reads the chunks of a unit.

    A chunk is as many documents in a row as reach its size, at least two. Of a txt file, a document is a
    stretch of 20,000 to 40,000 characters, cut between paragraphs where that can be; of other files it is a
    row.

    Args:
        files: of the corpus.
        unit: which is read.
        chunk_bytes: of raw text to a chunk.
    """

    def __init__(self, files: Sequence[TextFile], unit: Unit, chunk_bytes: int) -> None:
        self.files = files
        self.unit = unit
        self.chunk_bytes = chunk_bytes
        self.number = 0  # of the chunk that comes next
        self._chunks = self._from_start()

    def chunk(self, number: int) -> list[RawDocument] | None:
        """Return a chunk, None behind the last; fastest in their order.

        Raises:
            CorpusError: if a file cannot be read.
        """
        if number < self.number:
            self.close()
            self.number, self._chunks = 0, self._from_start()
        skipped = number - self.number
        self.number = number + 1
        return next(islice(self._chunks, skipped, None), None)

    def close(self) -> None:
        """Close the file that is open."""
        self._chunks.close()

    def _from_start(self) -> Generator[list[RawDocument]]:
        documents = (each for segment in self.unit.segments for each in self._documents(segment))
        return _strided(_chunks(documents, self.chunk_bytes), self.unit.phase, self.unit.stride)

    def _documents(self, segment: Segment) -> Iterator[RawDocument]:
        file = self.files[segment.file]
        kind = text_format(file).kind
        if kind == "parquet":
            with open_parquet(file) as parquet:
                groups = range(segment.start, segment.end or parquet.num_row_groups)
                for _, text in parquet_rows(parquet, groups, file):
                    yield RawDocument(file, text)
            return
        with open_text(file) as raw:
            if kind == "txt":
                for piece in _pieces(_lines(raw, segment, _READ_AT_ONCE), file):
                    yield RawDocument(file, piece)
                return
            for offset, line in _lines(raw, segment, -1):
                yield RawDocument(file, line if offset else line.removeprefix(BYTE_ORDER_MARK), offset)


def _chunks(documents: Iterator[RawDocument], chunk_bytes: int) -> Iterator[list[RawDocument]]:
    chunk: list[RawDocument] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.content)
        if size >= chunk_bytes and len(chunk) >= _LEAST_DOCUMENTS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _strided(chunks: Iterator[list[RawDocument]], phase: int, stride: int) -> Generator[list[RawDocument]]:
    yield from islice(chunks, phase, None, stride)


def _lines(raw: BinaryIO, segment: Segment, limit: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that begin in a segment, each with its offset; longer ones than ``limit`` in parts."""
    offset = segment.start
    if offset:
        # The line that the byte before belongs to is the segment's before this one.
        raw.seek(offset - 1)
        offset -= 1
        ended = False
        while not ended and (line := raw.readline(_READ_AT_ONCE)):
            offset += len(line)
            ended = line.endswith(b"\n")
    ended = True
    while (segment.end is None or offset < segment.end or not ended) and (line := raw.readline(limit)):
        yield offset, line
        offset += len(line)
        ended = line.endswith(b"\n")


def _pieces(lines: Iterator[tuple[int, bytes]], file: TextFile) -> Iterator[str]:
    """Yield what ``cut_text`` makes of the lines together, without holding them all."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    held: list[str] = []
    length = 0
    for offset, line in lines:
        held.append(_decoded(line, decoder, offset, file))
        length += len(held[-1])
        if length > _HELD_CHARACTERS:
            text, start = "".join(held), 0
            for end in cuts(text, MOST_CHARACTERS):
                yield text[start:end]
                start = end
            # What is behind the last cut may go on, so it stays.
            held, length = [text[start:]], len(text) - start
    _decoded(b"", decoder, None, file)
    yield from cut_text("".join(held), MOST_CHARACTERS)


def _decoded(line: bytes, decoder: codecs.IncrementalDecoder, offset: int | None, file: TextFile) -> str:
    if b"\0" in line:
        raise CorpusError(f"{file.address}: is binary (it has NUL bytes); give UTF-8 text")
    try:
        return decoder.decode(line if offset else line.removeprefix(BYTE_ORDER_MARK), final=offset is None)
    except UnicodeDecodeError as error:
        where = "its end" if offset is None else f"byte {offset + error.start}"
        raise CorpusError(f"{file.address}: is not UTF-8 ({where}); convert it to UTF-8") from error


def line_number(file: TextFile, offset: int) -> int:
    """Return the number of the line that begins at a byte of a file, decompressed."""
    count = 1
    with open_text(file) as raw:
        while offset > 0 and (part := raw.read(min(offset, _READ_AT_ONCE))):
            count += part.count(b"\n")
            offset -= len(part)
    return count
