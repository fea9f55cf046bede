"""Streamed corpus: parts that are mixed by weight, each cut into units."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.streams.unit_reader import RawDocument, UnitReader
from sparsezoo_hub.training.streams.units import Unit, chunk_size, cut_units
from sparsezoo_hub.training.text_addresses import TextFile

# One document of so many is for validation, by a hash of its text.
VALIDATION_SHARE = 200


@dataclass(frozen=True)
class StreamedPart:
    """A part of a corpus.

    Args:
        name: of the part; empty for a corpus without parts.
        share: of the rows, in (0, 1].
        files: in their order.
        units: that they are cut into.
        chunk_bytes: of raw text to a chunk.
    """

    name: str
    share: float
    files: tuple[TextFile, ...]
    units: tuple[Unit, ...]
    chunk_bytes: int

    def reader(self, unit: int) -> UnitReader:
        """Return a reader of a unit's chunks."""
        return UnitReader(self.files, self.units[unit], self.chunk_bytes)

    def unit_digest(self, unit: int) -> str:
        """Return what tells apart units whose chunks differ."""
        return self.units[unit].digest(self.files, self.chunk_bytes)


def streamed_corpus(
    files: Mapping[str, Sequence[TextFile]], weights: Mapping[str, float]
) -> tuple[StreamedPart, ...]:
    """Return the parts of a corpus, cut into units.

    Args:
        files: of each part.
        weights: of each part, each above 0; none at all for as many rows as there is text.

    Raises:
        CorpusError: if a file cannot be used.
    """
    units = {name: cut_units(each) for name, each in files.items()}
    sizes = {name: weights.get(name) or sum(unit.size for unit in each) for name, each in units.items()}
    total = sum(sizes.values())
    return tuple(
        StreamedPart(name, sizes[name] / total, tuple(each), units[name], chunk_size(each))
        for name, each in files.items()
    )


def split_texts(documents: Sequence[RawDocument]) -> tuple[list[str], list[str]]:
    """Return a chunk's texts for training and those for validation, clean, without repeated ones.

    Raises:
        CorpusError: if a document cannot be read.
    """
    sides: tuple[list[str], list[str]] = ([], [])
    seen: set[bytes] = set()
    for document in documents:
        texts = document.texts()
        digest = hashlib.sha256("\0".join(texts).encode()).digest()
        if digest not in seen:
            seen.add(digest)
            sides[_is_validation(digest)].extend(texts)
    return sides


def spread_texts(part: StreamedPart, side: int) -> Iterator[str]:
    """Yield the texts of one side from all over a part: the first chunk of each unit, then each's second.

    Args:
        part: of a corpus.
        side: 0 for training, 1 for validation.

    Raises:
        CorpusError: if a file cannot be read.
    """
    order = np.random.default_rng(0).permutation(len(part.units)).tolist()
    for number in count():
        going_on = []
        for unit in order:
            reader = part.reader(unit)
            documents = reader.chunk(number)
            reader.close()
            if documents is not None:
                going_on.append(unit)
                yield from split_texts(documents)[side]
        if not going_on:
            return
        order = going_on


def check_lanes(parts: Sequence[StreamedPart], lanes: int) -> None:
    """Refuse a corpus that has not a unit for each lane.

    Raises:
        CorpusError: it says what to do.
    """
    for part in parts:
        if len(part.units) < lanes:
            of_part = f"part {part.name} of the" if part.name else "the"
            raise CorpusError(
                f"{of_part} streamed text is too small: it can be cut into {len(part.units)} units, the "
                f"stage's batches need {lanes}: give more text, or leave --stream out"
            )


def _is_validation(digest: bytes) -> bool:
    return int.from_bytes(digest[:8]) % VALIDATION_SHARE == 0
