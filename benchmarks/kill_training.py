"""Kills a training run at random moments over all of its stages, until it has ended, again and again.

What is measured: whether the final weights, masks, ranges and results are bit for bit those of a run that
nobody disturbed; what the kills hit; and after SIGTERM, which every third round sends instead of SIGKILL,
the exit code and the seconds until the process has ended with its checkpoint. The recipe is the one of the
tests (``tests/training/interrupted_case.py``): pruning by three methods, distillation, two objectives, a
task with quantization, and all else that has a state.

    python benchmarks/kill_training.py --rounds 30
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "training"))

from forked_processes import ended, words
from interrupted_case import STAGES, digests, write_inputs
from launched_case import Inputs, launch, said

from sparsezoo_hub.training.checkpoint_files import UNFINISHED
from sparsezoo_hub.training.stop_signals import EXIT_CODE


def undisturbed(out: Path, inputs: Inputs) -> tuple[dict[str, str], float]:
    """Return the digests, and the seconds of a second run, whose process need not import anything."""
    for each in (out.with_name("first"), out):
        began = time.monotonic()
        codes = ended(launch(each, inputs, every=2), seconds=900)
        assert codes == [0], words(said(each))
    return digests(out), time.monotonic() - began


def place(out: Path) -> str:
    """Return where a run was hit: a stage, and whether in the middle of writing."""
    stage = next((name for name in STAGES if not (out / "stages" / name / "seed-0").exists()), "end")
    if not (out / "parents" / "backbone").exists():
        return "before the first stage"
    scratch = out / "stages" / stage / "seed-0.checkpoints" / UNFINISHED
    writing = any(scratch.glob("checkpoint-*")) or any(out.rglob("*.partial"))
    return f"{stage}, a checkpoint or model half written" if writing else stage


def measure(rounds: int, seed: int, folder: Path) -> bool:
    """Print what was seen, and return whether every run ended as the undisturbed one."""
    generator = random.Random(seed)  # noqa: S311 - not a secret
    inputs = write_inputs(folder / "inputs")
    expected, seconds = undisturbed(folder / "whole", inputs)
    print(f"undisturbed: {len(STAGES)} stages in {seconds:.1f} s")
    hits: Counter[str] = Counter()
    codes: Counter[int | None] = Counter()
    grace: list[float] = []
    same = runs = 0
    while sum(hits.values()) < rounds:
        runs += 1
        out = folder / f"run-{runs}"
        while True:
            (process,) = launch(out, inputs, every=generator.choice((1, 2, 3)))
            process.join(generator.uniform(0, seconds / 2) if sum(hits.values()) < rounds else 900)
            if process.exitcode is not None:
                break
            if sum(hits.values()) % 3 == 0:
                began = time.monotonic()
                process.terminate()
                (code,) = ended([process], seconds=30)
                codes[code] += 1
                grace.append(time.monotonic() - began)
                hits[f"SIGTERM: {place(out)}"] += 1
            else:
                process.kill()
                process.join()
                hits[f"SIGKILL: {place(out)}"] += 1
        assert process.exitcode == 0, words(said(out))
        same += digests(out) == expected
    for name, count in sorted(hits.items()):
        print(f"{count:4} {name}")
    shown = ", ".join(f"{count} x {code}" for code, count in codes.items())
    if grace:
        print(f"SIGTERM: exit codes {shown}; ended after {max(grace):.1f} s at most")
    print(
        f"{sum(hits.values())} interruptions of {runs} runs, {same} ended bit for bit as the undisturbed one"
    )
    # A process that is hit before it listens, while it still imports, dies of the signal.
    return same == runs and set(codes) <= {EXIT_CODE, 0, -signal.SIGTERM}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help="interruptions")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        sys.exit(not measure(options.rounds, options.seed, Path(temporary)))
