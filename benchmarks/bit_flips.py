"""Bit flips: every single bit of a package's small files, one after the other, and some of the large ones.

Each has to be found by `verify_package`, with the file's name. The files are put back as they were.

    python benchmarks/bit_flips.py COPY_OF_A_PACKAGE [--whole 20000] [--samples 500]
"""

import argparse
import random
import sys
from pathlib import Path

from sparsezoo_hub.packaging.layout import package_files
from sparsezoo_hub.packaging.verify import require_verified, verify_package

BITS = 8


def main() -> int:
    """Flip, verify, put back; print a line per file, and return 1 if a flip was not found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path)
    parser.add_argument("--whole", type=int, default=20_000, help="files of at most so many bytes: every bit")
    parser.add_argument("--samples", type=int, default=500, help="of each larger file")
    arguments = parser.parse_args()
    require_verified(arguments.package)
    missed = 0
    for name in package_files(arguments.package):
        path = arguments.package / name
        size = path.stat().st_size
        bits = range(BITS * size)
        chosen = bits if size <= arguments.whole else random.Random(7).sample(bits, arguments.samples)  # noqa: S311
        lost = sum(not _found(arguments.package, name, bit) for bit in chosen)
        print(f"{name}: {len(chosen):,} of {len(bits):,} bits flipped, {lost} not found")
        missed += lost
    return 1 if missed else 0


def _found(package: Path, name: str, bit: int) -> bool:
    _flip(package / name, bit)
    try:
        problems = [check.detail for check in verify_package(package) if not check.ok]
    finally:
        _flip(package / name, bit)
    return any(name in problem for problem in problems)


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // BITS)
        byte = file.read(1)[0]
        file.seek(bit // BITS)
        file.write(bytes([byte ^ (1 << bit % BITS)]))


if __name__ == "__main__":
    sys.exit(main())
