"""The picture of a comparison: results against size, a point for each model, its sparsity beside it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from sparsezoo_hub.errors import PackageError, write_errors
from sparsezoo_hub.hub.comparison import Compared, Comparison, Measure
from sparsezoo_hub.packaging.markdown import one_line

_UNITS = {"MB": 10**6, "kB": 10**3, "bytes": 1}
_COLUMNS = 3
_NUM_COLORS = 10  # of matplotlib's own, that are easy to tell apart
_MARKERS = "osD^vP"
_FACTOR = 1.6  # free space on either side of a logarithmic axis
_NEAR = 1.35  # a point so little larger leaves no room between
_LEGEND_COLUMN = 46  # characters of a name that leave room for another beside it


def draw_comparison(path: Path, comparison: Comparison) -> None:
    """Write a PNG: a panel for each result that two models have; the same bytes for the same numbers.

    The size is that of the compact form, kept values and mask bits, or of the plain weights of a dense model.

    Args:
        path: the file to write.
        comparison: whose results it shows.

    Raises:
        PackageError: if no two models have a result and a size in common to draw, or the disk refuses.
    """
    measures = [measure for measure in comparison.common_measures if len(_points(comparison, measure)) > 1]
    if not measures:
        raise PackageError(
            f"{path} is not drawn: no two of the models have a result on the same task; leave the picture out"
        )
    # The user's own matplotlib settings do not reach the picture, and no figure of theirs is touched.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        columns = min(_COLUMNS, len(measures))
        rows = math.ceil(len(measures) / columns)
        drawn = sorted({index for measure in measures for index, _ in _points(comparison, measure)})
        names = {index: _plain(comparison.models[index].facts.name) for index in drawn}
        legend = _legend_columns(list(names.values()), columns)
        foot = 0.1 + 0.22 * math.ceil(len(drawn) / legend)
        height = 3.5 * rows + foot
        figure = Figure(figsize=(max(5.6, 4.4 * columns), height), dpi=120)
        canvas = FigureCanvasAgg(figure)
        for index, measure in enumerate(measures):
            _panel(figure.add_subplot(rows, columns, index + 1), comparison, measure)
        _legend(figure, names, legend)
        figure.tight_layout(rect=(0, foot / height, 1, 1), w_pad=2.0)
        with write_errors(path):
            # A version of matplotlib would change the bytes.
            canvas.print_png(path, metadata={"Software": None})  # type: ignore[no-untyped-call]


def _points(comparison: Comparison, measure: Measure) -> list[tuple[int, Compared]]:
    """Return the models that have the result and a size, with their places in the comparison."""
    return [
        (index, model)
        for index, model in enumerate(comparison.models)
        if measure in model.results and model.transport_size
    ]


def _panel(axes: Any, comparison: Comparison, measure: Measure) -> None:
    points = _points(comparison, measure)
    num_bytes = [model.transport_size or 0 for _, model in points]
    unit = next(name for name, size in _UNITS.items() if max(num_bytes) >= size)
    sizes = [size / _UNITS[unit] for size in num_bytes]
    for (index, model), size in zip(points, sizes, strict=True):
        result = model.results[measure]
        color, marker = _look(index)
        axes.errorbar(
            size,
            result.mean,
            yerr=result.std or None,
            marker=marker,
            markersize=8,
            capsize=3,
            color=color,
            linestyle="",
        )
        beside = any(size < other <= size * _NEAR for other in sizes)
        axes.annotate(
            _sparsity_words(model),
            (size, result.mean),
            xytext=(-8 if beside else 8, 5),
            textcoords="offset points",
            ha="right" if beside else "left",
            fontsize=9,
            color=color,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=5,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / _FACTOR, max(sizes) * _FACTOR**1.5)  # what is said beside a point needs some
    axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.margins(y=0.2)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.set_title(f"{_plain(measure.dataset)}, {measure.split}", fontsize=11)
    axes.set_ylabel(_plain(measure.metric).replace("_", " "), fontsize=9)
    axes.set_xlabel(f"{unit} of the weights, compact", fontsize=9)


def _sparsity_words(model: Compared) -> str:
    sparsity = model.facts.manifest.sparsity.overall
    return "dense" if model.facts.manifest.is_dense else f"{sparsity:.2f}"


def _legend(figure: Any, names: Mapping[int, str], columns: int) -> None:
    handles = []
    for index in names:
        color, marker = _look(index)
        handles.append(Line2D([], [], color=color, marker=marker, markersize=7, linestyle=""))
    figure.legend(handles, list(names.values()), loc="lower center", ncols=columns, fontsize=9, frameon=False)


def _legend_columns(names: Sequence[str], panels: int) -> int:
    return max(1, min(len(names), panels * _LEGEND_COLUMN // max(map(len, names)), 4))


def _look(index: int) -> tuple[str, str]:
    return f"C{index % _NUM_COLORS}", _MARKERS[index // _NUM_COLORS % len(_MARKERS)]


def _plain(text: str) -> str:
    # matplotlib reads text between dollar signs as mathematics, and hides a label that begins with "_".
    return one_line(text).replace("$", r"\$").lstrip("_")[-80:]
