"""The batches of a stream: the same whoever reads them, and go on from wherever they stopped."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from stream_case import (
    BATCH,
    LENGTH,
    NUM_DOCUMENTS,
    TEXTS,
    TRAINING,
    dealt,
    document_of,
    loader,
    parts,
    settings,
    whole_state,
    write_corpus,
)

from sparsezoo_hub.errors import CorpusError, RecipeError
from sparsezoo_hub.training.streams.lanes import lanes_of, num_lanes
from sparsezoo_hub.training.streams.loader import StreamSettings

STEPS = 6


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> StreamSettings:
    """Two parts, rows of different lengths, masked."""
    folder = tmp_path_factory.mktemp("corpus")
    half = NUM_DOCUMENTS // 2
    paths = {
        "one": write_corpus(folder / "one.jsonl", TEXTS[:half]),
        "two": write_corpus(folder / "two.parquet", TEXTS[half:]),
    }
    return settings(parts(paths, {"one": 3.0, "two": 1.0}), short=0.3, length=20)


@pytest.fixture(scope="module")
def cached(stream: StreamSettings, tmp_path_factory: pytest.TempPathFactory) -> StreamSettings:
    """The same, its rows read from a cache but the first time."""
    folder = tmp_path_factory.mktemp("tokens")
    return settings(stream.parts, short=0.3, length=20, cache=folder)


@pytest.fixture(scope="module")
def reference(stream: StreamSettings) -> list[list[dict[str, list[int]]]]:
    """What one process without workers deals."""
    return list(dealt([loader(stream)], STEPS))


def test_rows_are_masked_and_of_different_lengths(reference: list[list[dict[str, list[int]]]]) -> None:
    rows = [row for batch in reference for row in batch]
    assert len({len(row["input_ids"]) for row in rows}) > 3
    asked = sum(label != -100 for row in rows for label in row["labels"])
    assert 0.05 < asked / sum(len(row["labels"]) for row in rows) < 0.25
    assert all(len(batch) == BATCH for batch in reference)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_batches_do_not_depend_on_processes_nor_on_workers(
    processes: int,
    workers: int,
    cached: StreamSettings,
    reference: list[list[dict[str, list[int]]]],
) -> None:
    loaders = [loader(cached, number, processes, workers) for number in range(processes)]
    assert list(dealt(loaders, STEPS)) == reference


def test_batches_do_not_depend_on_accumulation(
    cached: StreamSettings, reference: list[list[dict[str, list[int]]]]
) -> None:
    assert list(dealt([loader(cached, number, 2, rows=2) for number in range(2)], STEPS)) == reference


def test_a_stream_can_be_sent_to_workers_that_are_started_anew(
    cached: StreamSettings, reference: list[list[dict[str, list[int]]]]
) -> None:
    assert list(dealt([loader(pickle.loads(pickle.dumps(cached)))], 2)) == reference[:2]  # noqa: S301 - our own


@examples(max_examples=8, deadline=None)
@given(stop=st.integers(1, STEPS - 1), before=st.sampled_from([1, 2, 8]), after=st.sampled_from([1, 4]))
def test_after_any_batch_another_number_of_processes_goes_on_with_the_next_one(
    stop: int, before: int, after: int, cached: StreamSettings, reference: list[list[dict[str, list[int]]]]
) -> None:
    first = [loader(cached, number, before) for number in range(before)]
    assert list(dealt(first, stop)) == reference[:stop]
    second = [loader(cached, number, after) for number in range(after)]
    for each in second:
        each.restore({}, whole_state(first))
    assert list(dealt(second, STEPS - stop)) == reference[stop:]


def test_what_workers_have_read_ahead_is_not_lost(
    cached: StreamSettings, reference: list[list[dict[str, list[int]]]]
) -> None:
    first = loader(cached, workers=2)
    assert list(dealt([first], 3)) == reference[:3]
    second = loader(cached, workers=1)
    second.restore({}, first.tensors())
    assert list(dealt([second], STEPS - 3)) == reference[3:]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_an_epoch_has_every_training_document_once_and_no_validation_document(
    name: str, tmp_path: Path
) -> None:
    stream = settings(parts({"": write_corpus(tmp_path / name)}), masked=False)
    seen: list[int] = []
    for process in range(2):
        for number in lanes_of(process, 2, BATCH):
            lane = stream.lane(number)
            while True:
                row = lane.row()
                if lane.walks[0].place.epoch == 1:
                    break
                seen.append(document_of(row["input_ids"].tolist()))
    assert len(seen) == len(TRAINING) < NUM_DOCUMENTS
    assert set(seen) == TRAINING


def test_epochs_and_seeds_have_orders_of_their_own(tmp_path: Path) -> None:
    part = parts({"": write_corpus(tmp_path / "a.jsonl")})
    orders = []
    for seed in (0, 1):
        lane = settings(part, masked=False, seed=seed).lane(0)
        epochs: dict[int, list[int]] = {0: [], 1: []}
        while True:
            row = lane.row()
            if lane.walks[0].place.epoch == 2:
                break
            epochs[lane.walks[0].place.epoch].append(document_of(row["input_ids"].tolist()))
        orders += list(epochs.values())
        assert sorted(epochs[0]) != epochs[0]
    assert len({tuple(order) for order in orders}) == 4


def test_parts_are_mixed_by_their_weights(stream: StreamSettings) -> None:
    unmasked = settings(stream.parts, masked=False, length=LENGTH)
    lanes = [unmasked.lane(number) for number in range(BATCH)]
    rows = [lane.row()["input_ids"][1].item() for _ in range(150) for lane in lanes]
    of_one = sum(first < 5 + 24 * NUM_DOCUMENTS // 2 for first in rows)
    expected, deviation = 0.75 * len(rows), np.sqrt(0.75 * 0.25 * len(rows))
    assert abs(of_one - expected) < 3 * deviation


def test_parts_without_weights_are_mixed_as_there_is_text(tmp_path: Path) -> None:
    third = NUM_DOCUMENTS // 3
    paths = {
        "one": write_corpus(tmp_path / "one.jsonl", TEXTS[:third]),
        "two": write_corpus(tmp_path / "two.jsonl", TEXTS[third:]),
    }
    shares = [part.share for part in parts(paths)]
    sizes = [path.stat().st_size for path in paths.values()]
    assert shares == [size / sum(sizes) for size in sizes]


def test_no_lane_is_preferred(tmp_path: Path) -> None:
    stream = settings(parts({"": write_corpus(tmp_path / "a.jsonl")}), masked=False, batch=16)
    assert num_lanes(16) == 16
    batch = next(dealt([loader(stream)], 1))
    documents = [document_of(row["input_ids"]) for row in batch]
    assert len(Counter(documents)) == 16


@pytest.mark.parametrize(("batch", "lanes"), [(1, 1), (8, 8), (96, 48), (128, 64), (67, 1), (256, 64)])
def test_lanes_are_the_largest_divisor_up_to_64(batch: int, lanes: int) -> None:
    assert num_lanes(batch) == lanes


def test_lanes_that_cannot_be_split_over_the_processes_are_refused_with_what_can() -> None:
    with pytest.raises(RecipeError, match=r"batch_size 6 gives 6 lanes .* 4 processes: start 1, 2, 3, 6,"):
        lanes_of(0, 4, 6)


def test_too_little_text_for_the_lanes_is_refused(tmp_path: Path) -> None:
    stream = settings(parts({"": write_corpus(tmp_path / "a.jsonl", TEXTS[:200])}))
    with pytest.raises(CorpusError, match=r"cut into 2 units, the stage's batches need 8: give more text"):
        loader(stream)


def test_text_that_fills_no_row_is_refused(tmp_path: Path) -> None:
    stream = settings(parts({"": write_corpus(tmp_path / "a.jsonl")}), length=100_000)
    with pytest.raises(CorpusError, match="gives no row of 100000 tokens"):
        next(iter(loader(stream)))


def test_an_error_in_a_worker_is_one_line(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[700] = b'{"text": 7}'.ljust(len(lines[700]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    stream = settings(parts({"": path}))
    with pytest.raises(CorpusError) as caught:
        for _ in dealt([loader(stream, workers=2)], 1500):
            pass
    assert str(caught.value).startswith(f"{path}, line 701: needs an object with a string")
    assert "\n" not in str(caught.value)


def test_the_state_of_another_stream_is_refused(stream: StreamSettings) -> None:
    first = loader(settings(stream.parts, batch=4, short=0.3, length=20))
    next(iter(first))
    with pytest.raises(CorpusError, match=r"\(4, 9\) numbers, this one has \(8, 9\)"):
        loader(stream).restore({}, first.tensors())
