"""What one mask update costs: scores, thresholds and masks, and the Fisher matrix of Optimal BERT Surgeon.

    python benchmarks/pruning.py [--rounds 5] [--sizes base large] [--layers 1] [--gradients 32]

The masks are for the weights of BERT-base and BERT-large, random, pruned from nothing to 45 % and from
there to 90 % (2:4: 25 and 50 %). The Fisher matrix is for ``--layers`` layers of BERT-base, blocks of 50,
from ``--gradients`` random gradients; ``--layers 12 --gradients 1024`` is a whole update. Prints medians
with their range; memory is the process's resident peak beyond what it held with the weights alone, and
counts what the allocator keeps for later.
"""

import argparse
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from sparsezoo_hub.core.fisher import FisherOptions
from sparsezoo_hub.core.pruning_methods import PruningMethod, build_method
from sparsezoo_hub.core.selection import SCOPES, select_masks
from sparsezoo_hub.core.structures import STRUCTURES, Structure

SIZES = {"base": (12, 768), "large": (24, 1024)}  # layers, hidden size


class PeakMemory:
    """Watches the resident memory of this process while the block runs."""

    def __init__(self) -> None:
        self.before = psutil.Process().memory_info().rss

    def __enter__(self) -> Self:
        self.peak = self.before
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self.done.wait(0.005):
            self.peak = max(self.peak, process.memory_info().rss)

    @property
    def gigabytes(self) -> float:
        """How far it rose above what it was when this object was made."""
        return (self.peak - self.before) / 1e9


def make_weights(num_layers: int, hidden: int) -> dict[str, Tensor]:
    """Return random weights of the shapes of an encoder's Linear modules."""
    shapes = [(hidden, hidden)] * 4 + [(4 * hidden, hidden), (hidden, 4 * hidden)]
    return {
        f"layer.{layer}.{number}": torch.randn(shape) * 0.02
        for layer in range(num_layers)
        for number, shape in enumerate(shapes)
    }


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def spread(values: list[float]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure_masks(size: str, rounds: int, console: Console) -> None:
    """Print a row for each scope and structure."""
    weights = make_weights(*SIZES[size])
    method, memory = build_method("magnitude"), PeakMemory()
    numel = sum(weight.numel() for weight in weights.values())
    table = Table(title=f"BERT-{size}: {len(weights)} weights, {numel / 1e6:.0f} M entries, magnitude")
    for column in ("structure", "scope", "first masks, s", "later masks, s", "peak, GB"):
        table.add_column(column)
    for structure in STRUCTURES.values():
        for scope in SCOPES:
            first, later = make_updates(method, weights, scope, structure)
            with memory:
                times = [(seconds(first), seconds(later)) for _ in range(rounds)]
            columns = [spread(list(column)) for column in zip(*times, strict=True)]
            table.add_row(structure.name, scope, *columns, f"{memory.gigabytes:.2f}")

    def joined() -> None:
        scores = torch.cat([weight.abs().flatten() for weight in weights.values()])
        scores > scores.kthvalue(round(0.9 * scores.numel())).values  # noqa: B015

    with memory:
        compared = seconds(joined)
    table.add_row("torch.cat, kthvalue", "global", f"{compared:.2f}", "", f"{memory.gigabytes:.2f}")
    console.print(table)


def make_updates(
    method: PruningMethod, weights: dict[str, Tensor], scope: str, structure: Structure
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the first mask update and a later one, scores included."""
    final = min(0.9, float(structure.max_sparsity))

    def first() -> dict[str, Tensor]:
        return select_masks(method.scores(weights), final / 2, scope=scope, structure=structure)

    kept = first()
    return first, lambda: select_masks(
        method.scores(weights), final, scope=scope, structure=structure, kept=kept
    )


def measure_fisher(num_layers: int, num_gradients: int, rounds: int, console: Console) -> None:
    """Print what Optimal BERT Surgeon takes for each million weights."""
    weights = make_weights(num_layers, SIZES["base"][1])
    gradients = [{name: torch.randn_like(each) * 1e-3 for name, each in weights.items()} for _ in range(2)]
    millions = sum(weight.numel() for weight in weights.values()) / 1e6
    costs: dict[str, list[float]] = {"sampling, per gradient": [], "inverse and scores": [], "update": []}
    with PeakMemory() as memory:
        for _ in range(rounds):
            method = build_method("optimal_bert_surgeon", fisher=FisherOptions(num_gradients=num_gradients))

            def sample(method: PruningMethod = method) -> None:
                for number in range(num_gradients):
                    method.sample(gradients[number % 2])

            costs["sampling, per gradient"].append(seconds(sample) / num_gradients)
            began = time.perf_counter()
            scores = method.scores(weights)
            costs["inverse and scores"].append(time.perf_counter() - began)
            masks = select_masks(scores, 0.5)
            began = time.perf_counter()
            method.compensate(weights, masks)
            costs["update"].append(time.perf_counter() - began)
    table = Table(title=f"Optimal BERT Surgeon, {millions:.1f} M weights, {num_gradients} gradients")
    for column in ("part", "seconds", "ms per M weights"):
        table.add_column(column)
    for part, values in costs.items():
        table.add_row(part, spread(values), spread([1e3 * value / millions for value in values]))
    console.print(table)
    ratio = memory.gigabytes * 1e9 / (4e6 * millions)
    console.print(f"peak memory: {memory.gigabytes:.2f} GB, {ratio:.1f} times the weights")


def processor() -> str:
    """Return the processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--gradients", type=int, default=32)
    options = parser.parse_args()
    torch.manual_seed(0)
    console = Console()
    console.print(
        f"{processor()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds"
    )
    for size in options.sizes:
        measure_masks(size, options.rounds, console)
    if options.layers:
        measure_fisher(options.layers, options.gradients, options.rounds, console)


if __name__ == "__main__":
    main()
