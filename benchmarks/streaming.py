"""How fast text larger than memory becomes batches, and in how much memory.

Writes shards of made-up English-like text until they have the size that is asked for, plain jsonl, gzip and
parquet in turn; then deals batches of a streamed corpus for a while, as a training process would, and prints
every few seconds how many tokens a second it was and the memory that this process and its workers hold.
Nothing is trained.

    python benchmarks/streaming.py FOLDER --gigabytes 2 --seconds 120
    python benchmarks/streaming.py FOLDER --gigabytes 50 --seconds 3600 --workers 4   # needs 50 GB of disk

Shards that are there are used again.
"""

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from sparsezoo_hub.training.corpora import Document
from sparsezoo_hub.training.python_documentation import read_topics
from sparsezoo_hub.training.streams.loader import StreamLoader
from sparsezoo_hub.training.streams.packed_rows import RowSettings
from sparsezoo_hub.training.streams.streamed_text import StreamedRows, StreamedText
from sparsezoo_hub.training.text_addresses import find_text_files
from sparsezoo_hub.training.text_files import TEXT_FORMATS
from sparsezoo_hub.training.wordpiece import train_wordpiece

SHARD = 64 << 20
_SUFFIXES = (".jsonl", ".parquet", ".jsonl.gz")


def documents(seed: int, size: int) -> Iterator[str]:
    """Yield texts of some thousand characters: words of the documentation by Zipf's law."""
    words = sorted({word for topic in read_topics() for word in topic.text.split()})
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(words) + 1)
    bounds = np.cumsum(weights)
    while size > 0:
        drawn = np.searchsorted(bounds, generator.random(int(generator.integers(100, 1500))) * bounds[-1])
        text = " ".join([words[index] for index in drawn.tolist()]) + "."
        size -= len(text)
        yield text


def write_shards(folder: Path, total: int) -> None:
    """Write shards of 64 MiB of text until there is enough."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-total // SHARD)):
        path = folder / f"shard-{number:05}{_SUFFIXES[number % len(_SUFFIXES)]}"
        if path.exists():
            continue
        partial = path.with_name(f"partial-{path.name}.partial")
        if path.suffix == ".parquet":
            pq.write_table(pa.table({"text": list(documents(number, SHARD))}), partial, row_group_size=1000)
        else:
            packed = path.suffix == ".gz"
            with gzip.open(partial, "wt", 1) if packed else partial.open("w") as file:
                file.writelines(json.dumps({"text": text}) + "\n" for text in documents(number, SHARD))
        partial.rename(path)


def memory() -> float:
    """Return the proportional memory of this process and its children, in MiB."""
    own = psutil.Process()
    return sum(each.memory_full_info().pss for each in [own, *own.children(recursive=True)]) / 2**20


def deal(loader: StreamLoader, seconds: float, every: float) -> None:
    """Print what is dealt, and in how much memory, for so many seconds."""
    start = last = time.perf_counter()
    tokens = since = 0
    print(f"{'seconds':>8} {'tokens':>13} {'tokens/s':>10} {'memory MiB':>11}", flush=True)
    for batch in loader:
        tokens += (count := int(batch["attention_mask"].sum()))
        since += count
        now = time.perf_counter()
        if now - last >= every:
            print(
                f"{now - start:8.0f} {tokens:13,} {since / (now - last):10,.0f} {memory():11.0f}", flush=True
            )
            last, since = now, 0
        if now - start >= seconds:
            return


def main() -> None:
    """Write, then deal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--token-cache", type=Path)
    asked = parser.parse_args()
    start = time.perf_counter()
    write_shards(asked.folder, int(asked.gigabytes * 1e9))
    files = find_text_files([asked.folder], tuple(TEXT_FORMATS), {})
    print(f"{len(files)} shards, {sum(file.size for file in files) / 1e9:.2f} GB on the disk, "
          f"written in {time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
    start = time.perf_counter()
    text = StreamedText({"": files}, {})
    topics: list[Document] = read_topics()
    rows = StreamedRows(
        text, train_wordpiece(topics, 8000), RowSettings(512, 0.0, False), 0.15, False, asked.token_cache
    )
    validation = rows.validation()
    units = len(text.parts[0].units)
    print(
        f"{units} units, {len(validation)} rows of validation in {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    deal(rows.loader(256, 0, 256, asked.workers), asked.seconds, asked.every)


if __name__ == "__main__":
    main()
