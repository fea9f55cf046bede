"""The picture of a package: the measured sparsity of every pruned weight, layer by layer."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sparsezoo_hub.core.sparsity_report import ComponentSparsity, overall_sparsity

_IN_LAYER = re.compile(r"^(?:.*\.)?layer\.(\d+)\.(.+)\.weight$")

_LABELS: Mapping[str, str] = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention\noutput",
    "intermediate.dense": "feed-forward\nin",
    "output.dense": "feed-forward\nout",
    "attention.q_lin": "query",
    "attention.k_lin": "key",
    "attention.v_lin": "value",
    "attention.out_lin": "attention\noutput",
    "ffn.lin1": "feed-forward\nin",
    "ffn.lin2": "feed-forward\nout",
}
_OTHER = "elsewhere"
_ALL = "all"
_WHOLE = "whole\nlayer"
_DARK_FROM = 0.55  # white numbers from this sparsity on


def draw_sparsity(path: Path, components: Sequence[ComponentSparsity], title: str) -> None:
    """Write a PNG: one cell per pruned weight, rows are layers; the same bytes for the same numbers.

    Args:
        path: the file to write.
        components: the pruned weights as measured, named relative to the base model, at least one.
        title: one line.
    """
    rows, columns = _grid(components)
    rows, columns = [*rows, _ALL], [*columns, _WHOLE]
    # The user's own matplotlib settings do not reach the picture, and no figure of theirs is touched.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(1.15 * len(columns) + 1.2, 0.36 * len(rows) + 1.5), dpi=120)
        canvas = FigureCanvasAgg(figure)
        _fill(figure.add_subplot(), _table(components, rows, columns), rows, columns, _one_line(title))
        figure.tight_layout()
        # A version of matplotlib would change the bytes.
        canvas.print_png(path, metadata={"Software": None})  # type: ignore[no-untyped-call]


def _place(name: str) -> tuple[str, str]:
    match = _IN_LAYER.match(name)
    if match is None:
        return _OTHER, name.removesuffix(".weight")
    return f"layer {int(match[1])}", _LABELS.get(match[2], match[2])


def _grid(components: Sequence[ComponentSparsity]) -> tuple[list[str], list[str]]:
    places = [_place(component.name) for component in components]
    rows = dict.fromkeys(row for row, _ in places if row != _OTHER)
    numbered = sorted(rows, key=lambda row: int(row.removeprefix("layer ")))
    others = [_OTHER] if any(row == _OTHER for row, _ in places) else []
    return numbered + others, list(dict.fromkeys(column for _, column in places))


def _table(
    components: Sequence[ComponentSparsity], rows: list[str], columns: list[str]
) -> list[list[float | None]]:
    cells: dict[tuple[str, str], list[ComponentSparsity]] = {}
    for component in components:
        row, column = _place(component.name)
        for key in ((row, column), (row, _WHOLE), (_ALL, column), (_ALL, _WHOLE)):
            cells.setdefault(key, []).append(component)
    return [
        [overall_sparsity(cells[row, column]) if (row, column) in cells else None for column in columns]
        for row in rows
    ]


def _fill(
    axes: Any, table: list[list[float | None]], rows: list[str], columns: list[str], title: str
) -> None:
    values = [[float("nan") if value is None else value for value in row] for row in table]
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, line in enumerate(table):
        for column, value in enumerate(line):
            if value is not None:
                color = "white" if value >= _DARK_FROM else "black"
                axes.text(
                    column, row, f"{value:.3f}", ha="center", va="center_baseline", color=color, fontsize=9
                )
    axes.set_xticks(range(len(columns)), columns, fontsize=9)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # White lines between cells, a wider one before the totals.
    for edge in range(1, len(columns)):
        axes.axvline(edge - 0.5, color="white", linewidth=6 if edge == len(columns) - 1 else 1.5)
    for edge in range(1, len(rows)):
        axes.axhline(edge - 0.5, color="white", linewidth=6 if edge == len(rows) - 1 else 1.5)
    axes.set_title(title, fontsize=11, pad=12)
    axes.set_xlabel("fraction of zeros, as counted in the weights", fontsize=9, labelpad=8)


def _one_line(text: str) -> str:
    # matplotlib reads text between dollar signs as mathematics.
    return " ".join(text.split()).replace("$", r"\$")[:100]
