"""Draw the validation loss of a run's stages, and print it as a table.

Usage: python benchmarks/validation_curves.py RUN PLOT.png [--stages NAME ...]

RUN is the folder of `sparsezoo-hub train`, finished or not; each stage's curve is in its result.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    """Read the finished stages, draw, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("plot", type=Path)
    parser.add_argument("--stages", nargs="*")
    arguments = parser.parse_args()
    results = read_results(arguments.run, arguments.stages)
    draw(results, arguments.plot)
    print_table(results)


def read_results(run: Path, stages: list[str] | None) -> list[dict[str, Any]]:
    """Return the results of the first seed of each stage, in the order in which they were made."""
    paths = sorted(run.glob("stages/*/seed-*/result.json"), key=lambda path: path.stat().st_mtime)
    results = [json.loads(path.read_text()) for path in paths]
    return [each for each in results if each["curve"] and (not stages or each["stage"] in stages)]


def points(result: dict[str, Any]) -> list[tuple[int, float, float]]:
    """Return step, validation loss and sparsity along a stage, its end included."""
    found = [(each["step"], each["loss"], each["sparsity"]) for each in result["curve"]]
    return [*found, (result["steps"], result["validation_loss"], result["sparsity"] or 0.0)]


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Write a picture of losses over steps, and of the sparsity below."""
    figure, (losses, sparsities) = plt.subplots(2, 1, sharex=True, figsize=(7, 6), height_ratios=(3, 1))
    for result in results:
        steps, loss, sparsity = zip(*points(result), strict=True)
        losses.plot(steps, loss, marker="o", markersize=3, label=result["stage"])
        sparsities.plot(steps, sparsity)
    losses.set_ylabel("validation loss (nats)")
    losses.legend()
    sparsities.set_ylabel("sparsity")
    sparsities.set_xlabel("optimizer steps")
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def print_table(results: list[dict[str, Any]]) -> None:
    """Print a row per stage and a column per point, as shares of the stage."""
    shares = [f"{10 * number} %" for number in range(1, len(points(results[0])) + 1)]
    print(f"| stage | steps | minutes | {' | '.join(shares)} | sparsity |")
    print("|---" * (len(shares) + 4) + "|")
    for result in results:
        losses = " | ".join(f"{loss:.3f}" for _, loss, _ in points(result))
        sparsity = "0" if result["sparsity"] is None else f"{result['sparsity']:.4f}"
        minutes = f"{result['seconds'] / 60:.0f}"
        print(f"| {result['stage']} | {result['steps']} | {minutes} | {losses} | {sparsity} |")


if __name__ == "__main__":
    main()
