"""Stream loader: a process's batches of a streamed corpus, for the Trainer."""

import os
import pickle
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sparsezoo_hub.errors import CorpusError, SparseZooError
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.stop_signals import STOP_SIGNALS, leave_to_the_parent
from sparsezoo_hub.training.streams.corpus import StreamedPart, check_lanes
from sparsezoo_hub.training.streams.lanes import Lane, lanes_of, num_lanes
from sparsezoo_hub.training.streams.packed_rows import RowMaker
from sparsezoo_hub.training.streams.token_cache import TokenCache
from sparsezoo_hub.training.token_masking import Collator, TokenMasking

_PARALLEL_TOKENIZERS = "TOKENIZERS_PARALLELISM"
_LANES = "lanes"
_COUNTS = 1  # before the places in a lane's state as numbers


@dataclass(frozen=True)
class StreamSettings:
    """What a stage's stream is made of.

    Args:
        parts: of the corpus.
        maker: of rows.
        masking: asks for tokens of a row.
        cache: where rows are kept, if anywhere.
        batch_size: rows to an optimizer step, those of all processes together.
        seed: of the run.
    """

    parts: tuple[StreamedPart, ...]
    maker: RowMaker
    masking: TokenMasking | None
    cache: TokenCache | None
    batch_size: int
    seed: int

    def lane(self, number: int, state: Mapping[str, Any] | None = None) -> Lane:
        """Return one of the lanes, at its beginning or where it stood."""
        lanes = num_lanes(self.batch_size)
        return Lane(self.parts, self.maker, self.cache, self.masking, number, lanes, self.seed, state)


class StreamLoader:
    """Deals a process's batches without end; a resumable part of a stage, too.

    The batches of all processes together are the same for any number of processes and of workers. The state
    is that of what was dealt, however far workers have read ahead.

    Args:
        settings: of the stream.
        collate: pads rows to a batch.
        process: this one's number.
        processes: how many there are.
        rows: that this process takes at once; a divisor of its part of the batch.
        workers: that read, tokenize and mask; 0 for this process itself.

    Raises:
        CorpusError: if there is too little text.
        RecipeError: if the lanes cannot be split over the processes.
    """

    def __init__(
        self,
        settings: StreamSettings,
        collate: Collator,
        process: int,
        processes: int,
        rows: int,
        workers: int = 0,
    ) -> None:
        self.settings = settings
        self.collate = collate
        self.own = lanes_of(process, processes, settings.batch_size)
        check_lanes(settings.parts, num_lanes(settings.batch_size))
        self.rows = rows
        self.workers = min(workers, len(self.own))
        self.states: dict[int, dict[str, Any]] = {}  # of the lanes after what was dealt; empty at the start

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Deal batches from where the state is; raises what a worker does."""
        of_lane = self.settings.batch_size // num_lanes(self.settings.batch_size)
        dataset = _LaneRows(self.settings, self.own, of_lane, dict(self.states))
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=leave_to_the_parent if self.workers else None,
            multiprocessing_context=_workers_context() if self.workers else None,
            generator=torch.Generator(),  # of a seed that must not come out of training's numbers
        )
        with _starting_workers() if self.workers else nullcontext():
            dealt = iter(loader)
        while True:
            taken: dict[int, _Dealt] = {}
            for _ in range(max(1, self.workers)):
                for each in next(dealt):
                    if isinstance(each, SparseZooError):
                        raise each
                    taken[each.lane] = each
            rows = [
                {name: torch.from_numpy(value) for name, value in row.items()}
                for lane in self.own
                for row in taken[lane].rows
            ]
            batches = [
                self.collate(rows[start : start + self.rows]) for start in range(0, len(rows), self.rows)
            ]
            yield from batches[:-1]
            self.states = {lane: each.state for lane, each in taken.items()}
            yield batches[-1]

    def state(self) -> dict[str, Any]:
        """Return nothing: lanes are numbers, of all processes."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return where all lanes stand, (num_lanes, 1 + 4 * num_parts) of int64; every process asks at once.

        A row is the lane's number of rows so far, then the fields of its ``Place`` in each part.
        """
        own = [[lane, *_numbers(state)] for lane, state in self.states.items()]
        everyone = gather_object(own) if process_state().num_processes > 1 else own
        return {_LANES: torch.tensor([numbers for _, *numbers in sorted(everyone)], dtype=torch.int64)}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from there, whatever processes and workers there were.

        Raises:
            CorpusError: if it is the state of another stream.
        """
        del state
        lanes = tensors[_LANES].tolist()
        expected = (num_lanes(self.settings.batch_size), _COUNTS + 4 * len(self.settings.parts))
        if tensors[_LANES].shape != expected:
            raise CorpusError(
                f"the checkpoint is of a stream with {tuple(tensors[_LANES].shape)} numbers, this one has "
                f"{expected}: delete the run's folder, or give the same text and batch_size"
            )
        self.states = {lane: _state(lanes[lane]) for lane in self.own}


@dataclass(frozen=True)
class _Dealt:
    """A lane's rows of one optimizer step, and where it stands after them."""

    lane: int
    rows: list[dict[str, NDArray[Any]]]
    state: dict[str, Any]


class _LaneRows(IterableDataset[Any]):
    """Steps of a process's lanes, or of those that a worker has: a list of ``_Dealt`` each, or an error."""

    def __init__(
        self, settings: StreamSettings, lanes: Sequence[int], rows: int, states: dict[int, dict[str, Any]]
    ) -> None:
        self.settings = settings
        self.lanes = lanes
        self.rows = rows
        self.states = states

    def __getstate__(self) -> dict[str, Any]:
        # As bytes: torch would send the tensors in them to a worker as files that both have open.
        return {**self.__dict__, "settings": pickle.dumps(self.settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "settings": pickle.loads(state["settings"])}  # noqa: S301 - our own

    def __iter__(self) -> Iterator[list[_Dealt | SparseZooError]]:
        worker = get_worker_info()
        numbers = self.lanes if worker is None else self.lanes[worker.id :: worker.num_workers]
        lanes = [self.settings.lane(number, self.states.get(number)) for number in numbers]
        try:
            while True:
                yield [self._dealt(lane) for lane in lanes]
        except SparseZooError as error:
            # A worker's exception would reach the main process with a traceback in its message.
            yield [error]

    def _dealt(self, lane: Lane) -> _Dealt:
        # Arrays, as tensors would each go through a shared file of their own.
        rows = [{name: each.numpy() for name, each in lane.row().items()} for _ in range(self.rows)]
        return _Dealt(lane.number, rows, lane.state())


class SampledRows(Sequence[dict[str, Tensor]]):
    """A fixed sample of a stream's rows, unmasked, read when it is asked for: what curvature is estimated on.

    Args:
        settings: of the stream, without a masking.
        count: rows.
    """

    def __init__(self, settings: StreamSettings, count: int) -> None:
        self.settings = settings
        self.num_rows = count
        self._rows: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, index: Any) -> Any:
        """Return a row, by a number."""
        if not self._rows:
            lanes = num_lanes(self.settings.batch_size)
            check_lanes(self.settings.parts, lanes)
            for number in range(lanes):
                lane = self.settings.lane(number)  # one at a time, as each holds a chunk
                self._rows += [lane.row() for _ in range(-(-self.num_rows // lanes))]
        return self._rows[index]


def _numbers(state: Mapping[str, Any]) -> list[int]:
    return [state["rows"], *(number for place in state["places"] for number in place)]


def _state(numbers: Sequence[int]) -> dict[str, Any]:
    places = np.reshape(numbers[_COUNTS:], (-1, 4)).tolist()
    return {"rows": numbers[0], "places": places}


def _as_it_is(item: Any) -> Any:
    return item


def _workers_context() -> ForkServerContext:
    # Not forked from the training process: its threads (tokenizers', Arrow's, the device's) may hold locks
    # that a fork would wait for forever. They are forked from a server without threads, which imports once.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextmanager
def _starting_workers() -> Iterator[None]:
    """Give workers a signal mask, and tokenizers without threads, to inherit.

    A launcher signals whole process groups. Workers, and the server that they are forked from, must outlive
    a stop signal, from their first moment: the process that they work for decides when they end.
    """
    before = os.environ.get(_PARALLEL_TOKENIZERS)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    os.environ.setdefault(_PARALLEL_TOKENIZERS, "false")  # as there is a worker for each core
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLEL_TOKENIZERS]
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
