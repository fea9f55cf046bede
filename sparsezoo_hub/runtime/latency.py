"""Latency: how long the ways of running one package take, in turns on one machine."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.manifest import Latency, LatencyEntry
from sparsezoo_hub.packaging.onnx_export import max_length
from sparsezoo_hub.packaging.onnx_session import onnx_session, run_session
from sparsezoo_hub.packaging.quantization_file import read_ranges
from sparsezoo_hub.runtime import engine
from sparsezoo_hub.runtime.sparse_model import SparseModel

Batch = Mapping[str, Tensor]
Way = Callable[[Batch], object]

_HEAD_NOTE = (
    "All times hold the language model's head, which is dense and scores every word of the vocabulary for "
    "every token; a model of a task has no such head"
)
_LIBRARIES = ("torch", "onnxruntime", "sparsezoo_hub")


def measure_latency(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    shapes: Sequence[tuple[int, int]],
    *,
    hardware: str,
    threads: int,
    rounds: int,
) -> Latency:
    """Return how long a package's model takes in ONNX Runtime, in PyTorch and in the sparse engine.

    ONNX Runtime's float model, which computes zeros like other numbers, is the first way. int8 is measured
    where the package has it. PyTorch's number of threads is ``threads`` afterwards.

    Args:
        folder: a package.
        model: the one in it, as transformers loads it.
        tokenizer: its own.
        shapes: batches to measure: (rows, tokens of a row), without padding.
        hardware: in words, for the record.
        threads: of every way.
        rounds: how often each way runs for each shape, after a first time that does not count.

    Raises:
        BackboneError: if the model takes no rows as long as that, or the engine does not compute it.
        PackageError: if an ONNX file is missing or cannot be run.
    """
    longest = max_length(model, tokenizer)
    for _, length in shapes:
        if length > longest:
            raise BackboneError(f"{folder} takes rows of at most {longest} tokens, not {length}")
    torch.set_num_threads(threads)
    ways = _ways(folder, model, threads)
    entries = []
    for rows, length in shapes:
        seconds = in_turns(ways, _batch(model, rows, length), rounds)
        entries += [_entry(way, rows, length, each) for way, each in seconds.items()]
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return Latency(
        hardware=f"{hardware}, {engine.chosen_instructions()}",
        threads=threads,
        rounds=rounds,
        note=_HEAD_NOTE if type(model).__name__.endswith("ForMaskedLM") else None,
        versions=versions,
        entries=tuple(entries),
    )


@torch.inference_mode()
def in_turns(
    ways: Mapping[str, Way], batch: Batch, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of every round, by way.

    All ways run in every round, one after the other; a first round does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = clock()
            way(batch)
            if number:
                seconds[name].append(clock() - began)
    return seconds


def _ways(folder: Path, model: PreTrainedModel, threads: int) -> dict[str, Way]:
    ways = {
        "ONNX Runtime": onnx_way(folder / layout.ONNX_MODEL, threads),
        "PyTorch": torch_way(model),
        "sparse engine": torch_way(SparseModel.from_model(model)),
    }
    if (folder / layout.QUANTIZATION).exists():
        ranges = read_ranges(folder / layout.QUANTIZATION).ranges
        ways["ONNX Runtime, int8"] = onnx_way(folder / layout.ONNX_INT8_MODEL, threads)
        ways["sparse engine, int8"] = torch_way(SparseModel.from_model(model, ranges))
    return ways


def onnx_way(path: Path, threads: int) -> Way:
    """Return what runs an ONNX file in ONNX Runtime."""
    session = onnx_session(path, threads)

    def run(batch: Batch) -> None:
        run_session(session, batch)

    return run


def torch_way(model: PreTrainedModel) -> Way:
    """Return what runs a model in PyTorch, or in the sparse engine."""

    def run(batch: Batch) -> None:
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])

    return run


def _batch(model: PreTrainedModel, rows: int, length: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (rows, length), generator=generator)
    pad = model.config.pad_token_id
    if pad is not None:  # RoBERTa numbers positions by what is no padding
        ids[ids == pad] = (pad + 1) % model.config.vocab_size
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }


def _entry(way: str, rows: int, length: int, seconds: Sequence[float]) -> LatencyEntry:
    times = [1e3 * each for each in seconds]
    return LatencyEntry(
        way=way,
        batch=rows,
        length=length,
        median=statistics.median(times),
        fastest=min(times),
        slowest=max(times),
    )
