"""The picture of a study's table: lines over an axis of numbers, bars over any other."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sparsezoo_hub.core.study import Study
from sparsezoo_hub.training.studies.run_record import LOSS
from sparsezoo_hub.training.studies.table import Labels, Table

_NOTHING = math.nan
_NUM_COLORS = 10  # of matplotlib's own, that are easy to tell apart
_DECADES_FROM = 20.0  # numbers as far apart as this are drawn by their logarithm


def draw_table(path: Path, study: Study, table: Table) -> None:
    """Write a PNG: a series for each row, the paper's numbers as marks; the same bytes for the same numbers.

    Args:
        path: the file to write.
        study: whose table it is.
        table: with at least one number.
    """
    # The user's own matplotlib settings do not reach the picture, and no figure of theirs is touched.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        places = column_numbers(table.columns)
        size = len(table.columns) if places else len(table.columns) * (len(table.rows) + 1) / 3
        figure = Figure(figsize=(min(18.0, max(6.4, 2 + size)), 4.8), dpi=120)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if places is None:
            _bars(axes, table)
        else:
            _lines(axes, table, places)
        _dress(axes, study, table)
        figure.tight_layout()
        # A version of matplotlib would change the bytes.
        canvas.print_png(path, metadata={"Software": None})  # type: ignore[no-untyped-call]


def column_numbers(columns: Sequence[Labels]) -> list[float] | None:
    """Return the columns as numbers (``25%`` is 25), None if they are something else, or only one."""
    try:
        numbers = [float(column[-1].removesuffix("%")) for column in columns]
    except ValueError:
        return None
    single = len(numbers) > 1 and all(len(column) == 1 for column in columns)
    return numbers if single and all(math.isfinite(each) for each in numbers) else None


def _series(table: Table, row: Labels) -> tuple[list[float], list[float], list[float]]:
    """Return means, standard deviations and the paper's numbers of a row, as they are shown; nan for none."""
    means, spreads, papers = [], [], []
    for column in table.columns:
        cell = table.cell(row, column)
        mean = std = paper = _NOTHING
        if cell is not None:
            mean = _NOTHING if cell.mean is None else cell.mean * cell.scale
            std = _NOTHING if cell.std is None else cell.std * cell.scale
            paper = _NOTHING if cell.paper is None else cell.paper
        means.append(mean)
        spreads.append(std)
        papers.append(paper)
    return means, spreads, papers


def _lines(axes: Any, table: Table, places: list[float]) -> None:
    for index, row in enumerate(table.rows):
        means, spreads, papers = _series(table, row)
        color = _color(index, len(table.rows))
        axes.errorbar(places, means, yerr=spreads, marker="o", capsize=3, color=color, label=_name(row))
        axes.plot(places, papers, linestyle=":", marker="_", color=color)
    if min(places) > 0 and max(places) / min(places) >= _DECADES_FROM:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xticks(places, [_name(column) for column in table.columns], rotation=45, ha="right")


def _bars(axes: Any, table: Table) -> None:
    width = 0.8 / len(table.rows)
    for index, row in enumerate(table.rows):
        means, spreads, papers = _series(table, row)
        places = [place + (index - (len(table.rows) - 1) / 2) * width for place in range(len(table.columns))]
        axes.bar(
            places,
            means,
            width,
            yerr=spreads,
            capsize=2,
            label=_name(row),
            color=_color(index, len(table.rows)),
        )
        axes.plot(places, papers, linestyle="", marker="_", color="black", markersize=8)
    names = [_name(column) for column in table.columns]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")


def _dress(axes: Any, study: Study, table: Table) -> None:
    metrics = sorted({cell.metric for cell in table.cells.values() if cell.metric is not None})
    axes.set_ylabel(", ".join(f"{_plain(each)} {'(nats)' if each == LOSS else 'x 100'}" for each in metrics))
    axes.set_xlabel(_plain(" x ".join(study.columns)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_plain(study.name), fontsize=11)
    if study.paper is not None:
        axes.plot([], [], linestyle="", marker="_", color="black", label="the paper")
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _color(index: int, count: int) -> Any:
    return f"C{index}" if count <= _NUM_COLORS else matplotlib.colormaps["turbo"](index / (count - 1))


def _name(labels: Labels) -> str:
    return _plain(", ".join(labels))


def _plain(text: str) -> str:
    # matplotlib reads text between dollar signs as mathematics, and hides a label that begins with "_".
    return " ".join(text.split()).replace("$", r"\$").replace("_", " ")[:60]
