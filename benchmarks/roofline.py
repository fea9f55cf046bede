"""What this processor can do at most, and the least time that a sparse encoder would take at that.

    python benchmarks/roofline.py [--threads 2] [--layers 12] [--hidden 768] [--sparsity 0.9] [--batch 1]
        [--length 128]

Compiles ``roofline.cpp`` with ``g++ -O3 -march=native`` and measures, with one thread and with ``--threads``:
the peak of float32 multiply-adds, of bfloat16 dot products (where the processor has them) and of int8 ones
(VNNI, or AVX2), of byte shuffles, and of loads from the first-level cache (16 KiB), the second (384 KiB) and
memory (256 MiB); the best of many short runs, so that other work counts less. Needs x86 with AVX2.

Then the least milliseconds of an encoder at these peaks. Multiply-adds, for batch * length = tokens:

- linear layers: 12 * layers * hidden^2 * tokens * (1 - sparsity)
- attention: 2 * layers * tokens * length * hidden, in float32; in bfloat16 beside bfloat16 and int8, where
  the processor multiplies it

The engine multiplies a nonzero by activations that it loads from the first-level cache: 4, 2 or 1 bytes for
each multiply-add (float32, bfloat16, int8). In int8 with vectors of 64 bytes, four nonzeros times 64 tokens
take 4 loads, 8 byte shuffles and 4 products; in bfloat16 two nonzeros take 4, 4 and 4: half a vector's bytes
of multiply-adds for each shuffle, in both. Weights are read from memory once: 6, 4 or 3 bytes for each
nonzero, its index among them. These overlap, so the linear layers take as long as the longest of them. Dense
layers keep activations in registers, so that only products and weights count, of 4, 2 or 1 bytes. LayerNorm,
activation functions, softmax and rounding come on top.
"""

import argparse
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

SOURCE = Path(__file__).with_suffix(".cpp")
# By the name that roofline.cpp prints: in words, and by how much a table's numbers are larger.
PEAKS = {
    "float32": ("float32 multiply-adds, GFLOP/s", 2),
    "bfloat16": ("bfloat16 dot products, GFLOP/s", 2),
    "int8": ("int8 dot products, GOP/s", 2),
    "shuffles": ("byte shuffles, 10^9 vectors/s", 1),
    "L1": ("loads, 16 KiB, GB/s", 1),
    "L2": ("loads, 384 KiB, GB/s", 1),
    "memory": ("loads, 256 MiB, GB/s", 1),
}
ACTIVATION_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
INDEX_BYTES = 2

Rates = dict[str, float]


@dataclass(frozen=True)
class Encoder:
    """What is computed."""

    layers: int
    hidden: int
    sparsity: float
    batch: int
    length: int

    @property
    def tokens(self) -> int:
        """Return how many tokens there are."""
        return self.batch * self.length

    @property
    def nonzeros(self) -> float:
        """Return how many weights are not 0."""
        return 12 * self.layers * self.hidden**2 * (1 - self.sparsity)

    @property
    def attention(self) -> int:
        """Return attention's multiply-adds."""
        return 2 * self.layers * self.tokens * self.length * self.hidden


def main() -> None:
    """Compile, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = {"threads": 2, "layers": 12, "hidden": 768, "batch": 1, "length": 128}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sparsity", type=float, default=0.9)
    options = vars(parser.parse_args())
    threads = options.pop("threads")
    rates = measure(sorted({1, threads}))
    console = Console(width=110)
    console.print(peaks(rates))
    for number, found in rates.items():
        console.print(least_times(found, Encoder(**options), number))


def measure(threads: list[int]) -> dict[int, Rates]:
    """Return what the program prints, by number of threads."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/roofline"
        flags = ["-std=c++17", "-O3", "-march=native", "-pthread", "-Wno-ignored-attributes"]
        subprocess.run(["g++", *flags, SOURCE, "-o", program], check=True)  # noqa: S603, S607 - our own file
        rates = {}
        for number in threads:
            command = [program, str(number)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - as above
            lines = (line.split() for line in printed.stdout.splitlines())
            rates[number] = {name: float(rate) for name, rate in lines}
    return rates


def peaks(rates: dict[int, Rates]) -> Table:
    """Return a table of what was measured."""
    shown = Table("", *(f"{number} thread{'s' if number > 1 else ''}" for number in rates))
    for name, (words, factor) in PEAKS.items():
        numbers = [found[name] * factor for found in rates.values() if name in found]
        if numbers:
            shown.add_row(words, *(f"{each:.1f}" for each in numbers))
    return shown


def least_times(rates: Rates, encoder: Encoder, threads: int) -> Table:
    """Return a table of the least milliseconds."""
    shown = Table(
        title=f"least milliseconds: {encoder.layers} layers, hidden size {encoder.hidden}, "
        f"{encoder.sparsity:.0%} zeros, {encoder.batch} x {encoder.length}, threads {threads}"
    )
    for name in ("", "products", "loads", "shuffles", "weights", "linear layers", "attention", "together"):
        shown.add_column(name, justify="right" if name else "left")
    for precision, num_bytes in ACTIVATION_BYTES.items():
        if precision not in rates:
            continue
        parts = linear_parts(rates, encoder, precision, num_bytes)
        by_bfloats = precision != "float32" and "bfloat16" in rates
        attention = encoder.attention / rates["bfloat16" if by_bfloats else "float32"]
        times = (*parts, max(parts), attention, max(parts) + attention)
        shown.add_row(precision, *(f"{each / 1e6:.2f}" if each else "" for each in times))
    return shown


def linear_parts(rates: Rates, encoder: Encoder, precision: str, num_bytes: int) -> tuple[float, ...]:
    """Return the nanoseconds of products, loads, shuffles and weights; 0 for what is not done."""
    products = encoder.nonzeros * encoder.tokens
    if not encoder.sparsity:
        return products / rates[precision], 0, 0, encoder.nonzeros * num_bytes / rates["memory"]
    shuffles = 0 if precision == "float32" else products / (rates["vector_bytes"] / 2)
    return (
        products / rates[precision],
        products * num_bytes / rates["L1"],
        shuffles / rates["shuffles"],
        encoder.nonzeros * (num_bytes + INDEX_BYTES) / rates["memory"],
    )


if __name__ == "__main__":
    main()
