"""Data files: the rows of a split, from files in a folder or from the Hub, read by ``datasets``."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetsError

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.tasks.task_format import HubData

# Each with the reader of ``datasets``; one that is compressed may end in .gz as well.
READERS: Mapping[str, str] = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
_COMPRESSED = (".jsonl", ".json", ".csv")
ENDINGS = (*READERS, *(f"{ending}.gz" for ending in _COMPRESSED))
# pandas takes words such as "NA", "None" and "null" for missing values; in a text they are words.
_OPTIONS: Mapping[str, dict[str, Any]] = {"csv": {"keep_default_na": False}}


@dataclass(frozen=True)
class Table:
    """The rows of one file.

    Args:
        where: the file, or the repository and split, for messages.
        data: the rows; ``data.features`` may know the names of labels.
    """

    where: str
    data: datasets.Dataset


def split_files(folder: Path, split: str) -> list[Path]:
    """Return the files of a split in the order of their names.

    They are called ``SPLIT.ENDING`` or ``SPLIT-…``, ``SPLIT_…`` or ``SPLIT.…``, as in
    ``train-00000-of-00002.parquet``, with an ending of ``ENDINGS``.

    Raises:
        CorpusError: if the folder does not exist or cannot be read.
    """
    pattern = re.compile(rf"{re.escape(split)}([-_.].*)?({'|'.join(map(re.escape, ENDINGS))})")
    try:
        return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file())
    except NotADirectoryError as error:
        raise CorpusError(f"{folder}: is a file; name the folder that it is in") from error
    except FileNotFoundError as error:
        raise CorpusError(f"{folder}: does not exist; check the path of the data") from error
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be read: {error.strerror or error}") from error


def read_table(path: Path) -> Table:
    """Return the rows of a file; nothing is left on the disk.

    Raises:
        CorpusError: if the file cannot be read, is not of its format, or has no rows.
    """
    ending = next(ending for ending in READERS if path.name.removesuffix(".gz").endswith(ending))
    reader = READERS[ending]
    try:
        if path.stat().st_size == 0:
            raise CorpusError(f"{path}: is empty; give a file with rows in it")
        with tempfile.TemporaryDirectory() as cache, _no_bars():
            data = datasets.load_dataset(
                reader,
                data_files=str(path),
                split="train",
                cache_dir=cache,
                keep_in_memory=True,
                **_OPTIONS.get(reader, {}),
            )
    except (OSError, ValueError, TypeError, EOFError, DatasetsError) as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{path}: cannot be read as {ending[1:]}: {_reason(error)}") from error
    if not len(data):
        raise CorpusError(f"{path}: has no rows; give a file with rows in it")
    return Table(str(path), data)


def read_hub_split(hub: HubData, split: str) -> Table:
    """Return a split of a data set on the Hub, as ``datasets`` keeps it in its cache.

    Raises:
        CorpusError: if it cannot be had.
    """
    where = f"{hub.repository} on the Hub, split {split}"
    try:
        with _no_bars():
            data = datasets.load_dataset(
                hub.repository, hub.configuration, revision=hub.revision, split=split
            )
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise CorpusError(
            f"{where}: cannot be had: {_reason(error)}; give the data's files with --data FOLDER"
        ) from error
    return Table(where, data)


@contextmanager
def _no_bars() -> Iterator[None]:
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _reason(error: BaseException) -> str:
    # datasets wraps what went wrong; its own message only says that something did.
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__
