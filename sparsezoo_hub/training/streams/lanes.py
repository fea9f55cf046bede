"""Lanes: the ways through a corpus that a batch's rows come from.

A stage's batch of B rows has L lanes, L the largest divisor of B that is at most 64; row i comes from lane
i * L // B. A lane reads its own units, chunk after chunk, and knows where it stands. So it does not matter
which process reads which lanes, nor in which worker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from sparsezoo_hub.errors import CorpusError, RecipeError
from sparsezoo_hub.training.streams.corpus import StreamedPart, split_texts
from sparsezoo_hub.training.streams.packed_rows import PackedRows, RowMaker
from sparsezoo_hub.training.streams.token_cache import TokenCache
from sparsezoo_hub.training.streams.unit_reader import UnitReader
from sparsezoo_hub.training.streams.units import MOST_LANES
from sparsezoo_hub.training.token_masking import TokenMasking, row_seed

# What a seed is for, so that no two draws share one.
_ORDER_OF_UNITS, _ORDER_OF_ROWS, _ROW_MAKING, _PART, _MASK = range(5)


@dataclass
class Place:
    """Where a lane stands in a part: what comes next.

    Args:
        epoch: how often it has been through all of its units.
        unit: which of its units of that epoch.
        chunk: of the unit.
        row: of the chunk, in its shuffled order.
    """

    epoch: int = 0
    unit: int = 0
    chunk: int = 0
    row: int = 0


def num_lanes(batch_size: int) -> int:
    """Return how many lanes a batch has."""
    return max(lanes for lanes in range(1, MOST_LANES + 1) if batch_size % lanes == 0)


def lanes_of(process: int, processes: int, batch_size: int) -> range:
    """Return the lanes that a process reads.

    Raises:
        RecipeError: if the lanes cannot be split over the processes.
    """
    lanes = num_lanes(batch_size)
    if lanes % processes:
        possible = [each for each in range(1, lanes + 1) if lanes % each == 0]
        raise RecipeError(
            f"batch_size {batch_size} gives {lanes} lanes of streamed text, which cannot be split over "
            f"{processes} processes: start {', '.join(map(str, possible))}, or take another batch_size"
        )
    return range(process * lanes // processes, (process + 1) * lanes // processes)


class ChunkRows:
    """The rows of a part's chunks.

    Args:
        part: of the corpus.
        maker: of rows.
        cache: where rows are kept, if anywhere.
    """

    def __init__(self, part: StreamedPart, maker: RowMaker, cache: TokenCache | None) -> None:
        self.part = part
        self.maker = maker
        self.cache = cache
        self._reader: tuple[int, UnitReader] | None = None  # of the unit that was read last

    def rows(self, unit: int, chunk: int) -> PackedRows | None:
        """Return the training rows of a chunk, None behind the unit's last.

        Raises:
            CorpusError: if a file cannot be read.
            PackageError: if the cache cannot be written.
        """
        if self.cache is None:
            return self._made(unit, chunk)
        key = f"{self.part.unit_digest(unit)[:32]}-{self.maker.digest[:32]}"
        kept, rows = self.cache.read(key, chunk)
        if not kept:
            rows = self._made(unit, chunk)
            self.cache.write(key, chunk, rows)
        return rows

    def _made(self, unit: int, chunk: int) -> PackedRows | None:
        if self._reader is None or self._reader[0] != unit:
            if self._reader is not None:
                self._reader[1].close()
            self._reader = unit, self.part.reader(unit)
        documents = self._reader[1].chunk(chunk)
        if documents is None:
            return None
        # The same in every epoch and of every seed, so that a cache serves all of them.
        return self.maker.rows(split_texts(documents)[0], row_seed(_ROW_MAKING, unit, chunk))


class Walk:
    """A lane's way through a part, epoch after epoch.

    Args:
        chunks: of the part.
        part: its number, so that no two parts are read in the same order.
        lane: its number.
        lanes: how many there are.
        seed: of the run.
        place: where it begins.
    """

    def __init__(self, chunks: ChunkRows, part: int, lane: int, lanes: int, seed: int, place: Place) -> None:
        self.chunks = chunks
        self.part = part
        self.lane = lane
        self.lanes = lanes
        self.seed = seed
        self.place = place
        self._held: tuple[tuple[int, int, int], PackedRows | None, Sequence[int]] | None = None
        self._units: tuple[int, Sequence[int]] | None = None

    def row(self) -> dict[str, Tensor]:
        """Return the next row, with its ``special_tokens_mask``.

        Raises:
            CorpusError: if a file cannot be read, or a whole epoch gives no row.
        """
        ends = 0
        while ends < 2:  # noqa: PLR2004 - between two ends of an epoch lies a whole one
            rows, order = self._current()
            place = self.place
            if rows is None:
                place.unit, place.chunk, place.row = place.unit + 1, 0, 0
                if place.unit == len(self._own_units()):
                    place.epoch, place.unit = place.epoch + 1, 0
                    ends += 1
            elif place.row < len(rows):
                place.row += 1
                return rows.row(order[place.row - 1])
            else:
                place.chunk, place.row = place.chunk + 1, 0
        of_part = f"part {self.chunks.part.name} of the" if self.chunks.part.name else "the"
        raise CorpusError(
            f"{of_part} streamed text gives no row of {self.chunks.maker.settings.max_length} tokens in a "
            f"{self.lanes}th of it: give more text, or leave --stream out"
        )

    def _own_units(self) -> Sequence[int]:
        epoch = self.place.epoch
        if self._units is None or self._units[0] != epoch:
            generator = np.random.default_rng(row_seed(_ORDER_OF_UNITS, self.seed, self.part, epoch))
            order = generator.permutation(len(self.chunks.part.units))
            self._units = epoch, order[self.lane :: self.lanes].tolist()
        return self._units[1]

    def _current(self) -> tuple[PackedRows | None, Sequence[int]]:
        place = self.place
        where = place.epoch, place.unit, place.chunk
        if self._held is None or self._held[0] != where:
            unit = self._own_units()[place.unit]
            self._held = None  # so that two chunks are never held
            rows = self.chunks.rows(unit, place.chunk)
            seed = row_seed(_ORDER_OF_ROWS, self.seed, self.part, place.epoch, unit, place.chunk)
            count = 0 if rows is None else len(rows)
            self._held = where, rows, np.random.default_rng(seed).permutation(count).tolist()
        return self._held[1:]


class Lane:
    """A lane: rows drawn from the parts of a corpus by their shares.

    Args:
        parts: of the corpus.
        maker: of rows.
        cache: where rows are kept, if anywhere.
        masking: asks for tokens of a row; None leaves rows as they are.
        number: the lane's.
        lanes: how many there are.
        seed: of the run.
        state: where it goes on; None at the beginning.
    """

    def __init__(
        self,
        parts: Sequence[StreamedPart],
        maker: RowMaker,
        cache: TokenCache | None,
        masking: TokenMasking | None,
        number: int,
        lanes: int,
        seed: int,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.masking = masking
        self.number = number
        self.seed = seed
        self.count = 0 if state is None else int(state["rows"])
        places = [Place() for _ in parts] if state is None else [Place(*each) for each in state["places"]]
        self.walks = [
            Walk(ChunkRows(part, maker, cache), index, number, lanes, seed, place)
            for index, (part, place) in enumerate(zip(parts, places, strict=True))
        ]
        self.bounds = np.cumsum([part.share for part in parts])[:-1]

    def row(self) -> dict[str, Tensor]:
        """Return the next row: with ``labels`` if there is a masking, else with a ``special_tokens_mask``.

        Raises:
            CorpusError: if a file cannot be read, or there is too little text.
        """
        drawn = row_seed(_PART, self.seed, self.number, self.count) / 2.0**64
        row = self.walks[int(np.searchsorted(self.bounds, drawn, side="right"))].row()
        mask_seed = row_seed(_MASK, self.seed, self.number, self.count)
        self.count += 1
        return row if self.masking is None else self.masking(row, mask_seed)

    def state(self) -> dict[str, Any]:
        """Return where it stands, as can be written as JSON."""
        return {"rows": self.count, "places": [list(astuple(walk.place)) for walk in self.walks]}
