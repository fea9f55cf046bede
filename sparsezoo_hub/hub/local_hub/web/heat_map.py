"""The picture of a pattern: the sparsity of every pruned weight, a row per layer, as a table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sparsezoo_hub.hub.local_hub.web.wording import text_line
from sparsezoo_hub.packaging.manifest import ComponentEntry

MOST_ROWS = 64
MOST_COLUMNS = 16
# The style sheet has a shade for each.
SHADES = 20

_IN_LAYER = re.compile(r"^(?:.*\.)?layer\.(\d{1,4})\.(.+)$")


@dataclass(frozen=True, slots=True)
class Cell:
    """The weights of one row and one column together: their sparsity, and its shade from 0 to `SHADES`."""

    sparsity: float
    shade: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A table of cells; None where a layer has no such weight.

    Args:
        columns: what each column is about.
        rows: a layer's name and its cells.
        is_whole: whether all weights are shown; a file of any origin may name any number of them.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    is_whole: bool


def heat_map(components: "Mapping[str, ComponentEntry]") -> HeatMap | None:
    """Return the picture of a package's pruned weights, None if there are none."""
    if not components:
        return None
    places = {name: _place(name) for name in components}
    rows = sorted({row for row, _ in places.values()})
    columns = list(dict.fromkeys(column for _, column in places.values()))
    totals: dict[tuple[int, str], tuple[int, int]] = {}
    for name, entry in components.items():
        numel, zeros = totals.get(places[name], (0, 0))
        totals[places[name]] = numel + entry.numel, zeros + entry.zeros
    shown = [
        (row, tuple(_cell(totals.get((row, column))) for column in columns[:MOST_COLUMNS])) for row in rows
    ]
    return HeatMap(
        columns=tuple(text_line(column) for column in columns[:MOST_COLUMNS]),
        rows=tuple((_row_name(row), cells) for row, cells in shown[:MOST_ROWS]),
        is_whole=len(rows) <= MOST_ROWS and len(columns) <= MOST_COLUMNS,
    )


def sparsity_by_kind(components: "Mapping[str, ComponentEntry]") -> dict[str, float]:
    """Return the sparsity of the weights of each kind, all layers together."""
    totals: dict[str, tuple[int, int]] = {}
    for name, entry in components.items():
        kind = text_line(_place(name)[1])
        numel, zeros = totals.get(kind, (0, 0))
        totals[kind] = numel + entry.numel, zeros + entry.zeros
    return {kind: _fraction(*total) for kind, total in totals.items()}


def _place(name: str) -> tuple[int, str]:
    short = name.removesuffix(".weight")
    match = _IN_LAYER.match(short)
    return (-1, short) if match is None else (int(match[1]), match[2])


def _row_name(row: int) -> str:
    return "elsewhere" if row < 0 else f"layer {row}"


def _cell(total: tuple[int, int] | None) -> Cell | None:
    if total is None:
        return None
    sparsity = _fraction(*total)
    return Cell(sparsity, round(sparsity * SHADES))


def _fraction(numel: int, zeros: int) -> float:
    # What a manifest counts need not agree with itself, and may have any number of digits.
    if zeros >= numel:
        return 1.0 if numel else 0.0
    return zeros / numel
