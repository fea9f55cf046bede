"""Streams of documents whose every word is another token, so that a row tells which document it is."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numbered_words import FIRST_WORD, SEP, numbered_tokenizer
from torch import Tensor

from sparsezoo_hub.training.streams.corpus import StreamedPart, streamed_corpus
from sparsezoo_hub.training.streams.lanes import num_lanes
from sparsezoo_hub.training.streams.loader import StreamLoader, StreamSettings
from sparsezoo_hub.training.streams.packed_rows import RowMaker, RowSettings
from sparsezoo_hub.training.streams.token_cache import TokenCache
from sparsezoo_hub.training.text_addresses import local_file
from sparsezoo_hub.training.token_masking import TokenMasking, padding_collator

NUM_DOCUMENTS = 1800
NUM_WORDS = 24
# [CLS], a document, the [SEP] behind it, and the row's own: so every row is a document.
LENGTH = NUM_WORDS + 3
BATCH = 8
TOKENIZER = numbered_tokenizer(NUM_DOCUMENTS * NUM_WORDS)
TEXTS = [
    " ".join(f"w{word}" for word in range(number * NUM_WORDS, (number + 1) * NUM_WORDS))
    for number in range(NUM_DOCUMENTS)
]


def is_validation(text: str) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 200 == 0


TRAINING = {number for number, text in enumerate(TEXTS) if not is_validation(text)}


def json_lines(texts: Sequence[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def write_corpus(path: Path, texts: Sequence[str] = TEXTS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, row_group_size=100)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(json_lines(texts)))
    elif path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(json_lines(texts))
    else:
        path.write_bytes(json_lines(texts))
    return path


def parts(paths: Mapping[str, Path], weights: Mapping[str, float] | None = None) -> tuple[StreamedPart, ...]:
    return streamed_corpus({name: [local_file(path)] for name, path in paths.items()}, weights or {})


def settings(
    parts: tuple[StreamedPart, ...],
    *,
    masked: bool = True,
    cache: Path | None = None,
    short: float = 0.0,
    length: int = LENGTH,
    batch: int = BATCH,
    seed: int = 5,
) -> StreamSettings:
    maker = RowMaker(TOKENIZER, RowSettings(length, short, next_sentence=False))
    masking = TokenMasking(TOKENIZER, 0.15) if masked else None
    return StreamSettings(parts, maker, masking, None if cache is None else TokenCache(cache), batch, seed)


def loader(
    settings: StreamSettings, process: int = 0, processes: int = 1, workers: int = 0, rows: int | None = None
) -> StreamLoader:
    share = settings.batch_size // processes
    return StreamLoader(settings, padding_collator(TOKENIZER), process, processes, rows or share, workers)


def rows_of(batch: Mapping[str, Tensor]) -> list[dict[str, list[int]]]:
    """A batch's rows without their padding."""
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    return [
        {name: each[row, :length].tolist() for name, each in batch.items() if each.dim() > 1}
        for row, length in enumerate(lengths)
    ]


def dealt(loaders: Sequence[StreamLoader], steps: int) -> Iterator[list[dict[str, list[int]]]]:
    """The rows of each step's batch, of all processes in their order."""
    iterators = [iter(each) for each in loaders]
    for _ in range(steps):
        batch = []
        for each, iterator in zip(loaders, iterators, strict=True):
            share = each.settings.batch_size * len(each.own) // num_lanes(each.settings.batch_size)
            got = 0
            while got < share:
                rows = rows_of(next(iterator))
                got += len(rows)
                batch += rows
        yield batch


def whole_state(loaders: Sequence[StreamLoader]) -> dict[str, Tensor]:
    """What the processes' states come to together."""
    return {"lanes": torch.cat([each.tensors()["lanes"] for each in loaders])}


def document_of(ids: Sequence[int]) -> int:
    """The document that an unmasked row is."""
    first = ids[1]
    assert list(ids[1:-2]) == list(range(first, first + NUM_WORDS)), ids
    assert ids[-2] == SEP
    return (first - FIRST_WORD) // NUM_WORDS
