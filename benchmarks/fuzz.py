"""Fuzz: the tests of tests/fuzz with as many inputs as there is time for.

Each property gets --inputs of them, other ones in every run: requests to a real server, manifests, mask
files, compact files, recipes, studies, cards. It fails at the first input that brings up anything but an
error of ours, an answer of 5xx, a traceback or a file outside of the root, and prints that input made small.

    python benchmarks/fuzz.py --inputs 20000 [--only server]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run, print how many inputs each property had, and return pytest's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1000, help="for each property")
    parser.add_argument("--only", default="", help="a part of the tests' names: server, files, recipes ...")
    arguments = parser.parse_args()
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "0", "--tb", "short"),
        *("--hypothesis-show-statistics", "-k", arguments.only, "tests/fuzz"),
    ]
    environment = {**os.environ, "SPARSEZOO_FUZZ_INPUTS": str(arguments.inputs)}
    start = time.perf_counter()
    ran = subprocess.run(  # noqa: S603 - our own tests
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    for line in ran.stdout.splitlines():
        if ran.returncode or line.startswith("tests/") or "passing examples" in line:
            print(line)
    print(f"{arguments.inputs:,} inputs for each property, {time.perf_counter() - start:.0f} s")
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
