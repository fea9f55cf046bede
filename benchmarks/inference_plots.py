"""Draw what ``inference.py --json`` wrote: speed over onnxruntime's float32.

    python benchmarks/inference_plots.py RESULTS.json [MORE.json ...] PLOT.png [--panels 4]

A row of panels for each thing that the files have at least two of: sparsity, batch, sequence length, number
of threads, number of layers. Its panels are the settings of all others, at most ``--panels`` of them. A point
is the median over rounds of how many times faster a way was in that round, and the bar through it the range.
Over batch, length, threads and layers, the engine and DeepSparse are drawn at the highest sparsity that all
settings have.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

SETTING = ("layers", "threads", "batch", "length")
AXES = {
    "sparsity": "sparsity of the encoder's weights",
    "batch": "batch",
    "length": "sequence length",
    "threads": "threads",
    "layers": "layers",
}
PRUNED = ("engine", "DeepSparse")  # the libraries that have pruned models; others have the dense one only
REFERENCE = ("onnxruntime", "float32")
COLORS = {
    "engine": "tab:red",
    "DeepSparse": "tab:blue",
    "OpenVINO": "tab:green",
    "onnxruntime": "black",
    "torch": "tab:brown",
    "torch.compile": "tab:olive",
}
LINES = {"int8": "-", "bfloat16": "--", "float32": ":", "float32, attention bfloat16": "-."}

Row = dict[str, Any]


def main() -> None:
    """Read, draw and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("plot", type=Path)
    parser.add_argument("--panels", type=int, default=4)
    options = parser.parse_args()
    rows = [row for path in options.results for row in read(path)]
    draw(rows, options.plot, options.panels)


def read(path: Path) -> list[Row]:
    """Return a file's measurements, each with the ratios of its rounds."""
    rows: list[Row] = json.loads(path.read_text())["measurements"]
    references = {setting(row): row["seconds"] for row in rows if way_of(row) == REFERENCE}
    for row in rows:
        pairs = zip(references[setting(row)], row["seconds"], strict=True)
        row["ratios"] = [one / other for one, other in pairs]
    return rows


def setting(row: Row) -> tuple[int, ...]:
    """Return what was the same for all ways that were measured in turns."""
    return tuple(row[name] for name in SETTING)


def way_of(row: Row) -> tuple[str, str]:
    """Return the library and the precision."""
    return row["library"], row["precision"]


def draw(rows: list[Row], path: Path, num_panels: int) -> None:
    """Write a picture: a row of panels for each axis, the panels side by side the settings of the others."""
    drawn = []
    for axis in AXES:
        panels = panels_of(rows, axis)[:num_panels]
        if panels:
            drawn.append((axis, panels))
    if not drawn:
        raise SystemExit("nothing to draw: each of sparsity, batch, length, threads and layers has one value")
    columns = max(len(panels) for _, panels in drawn)
    size = (4 * columns + 3.5, 3.2 * len(drawn) + 0.5)
    figure, grid = plt.subplots(len(drawn), columns, figsize=size, squeeze=False, layout="constrained")
    ways = sorted({way_of(row) for row in rows}, key=lambda way: (way[0] not in PRUNED, way))
    handles: dict[str, Any] = {}
    for (axis, panels), line in zip(drawn, grid, strict=True):
        for panel, (title, own) in zip(line, panels, strict=False):
            handles |= draw_panel(panel, own, axis, ways)
            panel.set_title(title, fontsize=9)
        for panel in line[len(panels) :]:
            panel.set_visible(False)
        line[0].set_ylabel("times faster than\nonnxruntime float32, dense")
    names = [name for name in map(" ".join, ways) if name in handles]
    figure.legend([handles[name] for name in names], names, loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def panels_of(rows: list[Row], axis: str) -> list[tuple[str, list[Row]]]:
    """Return the panels of an axis: titles, and the measurements with two values or more on the axis."""
    others = [name for name in SETTING if name != axis]
    groups: dict[tuple[int, ...], list[Row]] = {}
    sparsities: dict[tuple[int, ...], set[float]] = {}
    for row in rows:
        sparsities.setdefault(setting(row), set()).add(row["sparsity"])
    highest = max(set.intersection(*sparsities.values()))
    for row in rows:
        if axis == "sparsity" or row["library"] not in PRUNED or row["sparsity"] == highest:
            groups.setdefault(tuple(row[name] for name in others), []).append(row)
    panels = []
    for values, own in sorted(groups.items()):
        if len({row[axis] for row in own}) > 1:
            title = ", ".join(f"{name} {value}" for name, value in zip(others, values, strict=True))
            if axis != "sparsity" and highest:
                title += f"\n{' and '.join(PRUNED)} at {highest:.0%} zeros"
            panels.append((title, own))
    return panels


def draw_panel(panel: Axes, rows: list[Row], axis: str, ways: list[tuple[str, str]]) -> dict[str, Any]:
    """Draw the ways of a panel, and return what stands for each in a legend."""
    handles = {}
    values = sorted({row[axis] for row in rows})
    for way in ways:
        color, line = COLORS[way[0]], LINES[way[1].removesuffix(", x64quantprecision")]
        own = sorted((row for row in rows if way_of(row) == way), key=lambda row: row[axis])
        if not own:
            continue
        medians = [statistics.median(row["ratios"]) for row in own]
        if axis == "sparsity" and way[0] not in PRUNED:  # zeros change nothing
            handles[" ".join(way)] = panel.axhline(medians[0], color=color, linestyle=line, linewidth=1)
            continue
        ranges = [
            [median - min(row["ratios"]) for median, row in zip(medians, own, strict=True)],
            [max(row["ratios"]) - median for median, row in zip(medians, own, strict=True)],
        ]
        places = [values.index(row[axis]) for row in own]
        handles[" ".join(way)] = panel.errorbar(
            places,
            medians,
            yerr=ranges,
            color=color,
            linestyle=line,
            marker=".",
            elinewidth=0.5,
            linewidth=1.3,
        )
    panel.set_xticks(
        range(len(values)), [f"{each:.0%}" if axis == "sparsity" else str(each) for each in values]
    )
    panel.set_xlabel(AXES[axis])
    panel.set_ylim(bottom=0)
    panel.grid(axis="y", alpha=0.3)
    return handles


if __name__ == "__main__":
    main()
