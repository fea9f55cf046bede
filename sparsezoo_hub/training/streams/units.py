"""Units: the files of a corpus cut into parts of about the same size, which lanes read."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from sparsezoo_hub.training.text_addresses import TextFile
from sparsezoo_hub.training.text_files import (
    FIELD,
    check_not_empty,
    open_parquet,
    text_bytes,
    text_format,
)

# The most lanes that a batch has, so the fewest units that a corpus is cut into where it can be.
MOST_LANES = 64
# Four to a lane, so that lanes that cannot all have the same number of them have nearly the same.
NUM_UNITS = 4 * MOST_LANES
LARGEST_UNIT = 64 << 20
LARGEST_CHUNK = 1 << 20
# Of smaller chunks, too much would be lost at their ends, where the last tokens do not fill a row.
SMALLEST_CHUNK = 16 << 10


@dataclass(frozen=True)
class Segment:
    """A stretch of a file.

    Args:
        file: its number in the corpus.
        start: the first byte of a plain txt or jsonl file, whose lines that begin from here on belong to it;
            the first row group of a parquet file; else 0.
        end: where it ends; None at the file's end.
        size: about how many bytes of text it holds.
    """

    file: int
    start: int
    end: int | None
    size: int


@dataclass(frozen=True)
class Unit:
    """What a lane reads from its beginning to its end: stretches of files in their order.

    Args:
        segments: at least one.
        stride: of the chunks that the segments hold, every so many belong to this unit. More than 1 where a
            file must be read from its start, and is too large for one unit.
        phase: the first of them, below ``stride``.
    """

    segments: tuple[Segment, ...]
    stride: int = 1
    phase: int = 0

    @property
    def size(self) -> int:
        """About how many bytes of text it holds."""
        return sum(segment.size for segment in self.segments) // self.stride

    def digest(self, files: Sequence[TextFile], chunk_bytes: int) -> str:
        """Return what tells apart units whose chunks differ, in hexadecimal."""
        content = [
            [files[each.file].identity() for each in self.segments],
            [asdict(self), chunk_bytes],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def chunk_size(files: Sequence[TextFile]) -> int:
    """Return about how many bytes of text the chunks of a corpus have: a mebibyte, less if it is small."""
    total = sum(text_bytes(file) for file in files)
    return min(max(total // NUM_UNITS, SMALLEST_CHUNK), LARGEST_CHUNK)


def cut_units(files: Sequence[TextFile]) -> tuple[Unit, ...]:
    """Return the units of a corpus: at least ``MOST_LANES`` where it is large enough.

    Plain jsonl and txt files are cut at lines, parquet files between row groups; small files are put
    together. What cannot be cut is shared by units that take one chunk after the other.

    Args:
        files: of the corpus, in an order that is the same on every machine.

    Raises:
        CorpusError: if a file is empty, of no known format, or a parquet file that cannot be used.
    """
    total = sum(text_bytes(file) for file in files)
    target = min(max(total // NUM_UNITS, SMALLEST_CHUNK), LARGEST_UNIT)
    segments = [segment for number, file in enumerate(files) for segment in _segments(number, file, target)]
    units = list(_packed(segments, target))
    if len(units) >= MOST_LANES:
        return tuple(units)
    share = max(sum(unit.size for unit in units) // MOST_LANES, 1)
    chunk = chunk_size(files)  # a unit has one at least
    return tuple(
        replace(unit, stride=stride, phase=phase)
        for unit in units
        for stride in [max(1, min(-(-unit.size // share), unit.size // chunk))]
        for phase in range(stride)
    )


def _segments(number: int, file: TextFile, target: int) -> Iterator[Segment]:
    form = text_format(file)
    check_not_empty(file)
    if form.kind == "parquet":
        yield from _row_groups(number, file, target)
    elif form.compression is None:
        yield from _byte_ranges(number, file, target)
    else:
        yield Segment(number, 0, None, file.size * form.growth)


def _byte_ranges(number: int, file: TextFile, target: int) -> Iterator[Segment]:
    count = max(1, round(file.size / target))
    bounds = [file.size * index // count for index in range(count + 1)]
    for start, end in pairwise(bounds):
        yield Segment(number, start, None if end == file.size else end, end - start)


def _row_groups(number: int, file: TextFile, target: int) -> Iterator[Segment]:
    with open_parquet(file) as parquet:
        column = parquet.schema_arrow.names.index(FIELD)
        groups = [
            parquet.metadata.row_group(group).column(column).total_uncompressed_size
            for group in range(parquet.num_row_groups)
        ]
    start = size = 0
    for group, each in enumerate(groups, start=1):
        size += each
        if size >= target or group == len(groups):
            yield Segment(number, start, group, size)
            start, size = group, 0


def _packed(segments: Sequence[Segment], target: int) -> Iterator[Unit]:
    # A unit is closed at three quarters of the target, as a file's equal parts are a little smaller than it.
    held: list[Segment] = []
    for segment in segments:
        held.append(segment)
        if sum(each.size for each in held) >= 0.75 * target:
            yield Unit(tuple(held))
            held = []
    if held:
        yield Unit(tuple(held))
