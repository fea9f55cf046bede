"""A picture of accuracy against size: where everything in it stands, for the template that draws it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 34, 56
# Words to the right of a point take about this much room, in the picture's units.
LABEL_WIDTH, LABEL_HEIGHT = 90, 20
# Beyond it a number is a mistake or a joke, and would leave no room for the others.
LARGEST = 1e15


@dataclass(frozen=True, slots=True)
class Point:
    """What is to be drawn: a value with its spread, at a place on the horizontal axis, and its words."""

    x: float
    y: float
    spread: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point where it is drawn: its middle, the ends of its bar, and its words' place."""

    x: float
    y: float
    bar_top: float
    bar_bottom: float
    label: str
    label_x: float
    label_y: float
    at_end: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: its place in the picture, and its words."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """A drawn picture: its size, its frame, its marks and both axes."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def draw_scatter(points: Sequence[Point]) -> Scatter | None:
    """Return the picture of `points`, None if none of them can be drawn."""
    drawn = [each for each in points if max(abs(each.x), abs(each.y), abs(each.spread)) < LARGEST]
    if not drawn:
        return None
    x_low, x_high = _span([each.x for each in drawn])
    y_low, y_high = _span([each.y + sign * each.spread for each in drawn for sign in (-1, 1)])

    def across(value: float) -> float:
        return round(LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def down(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    marks: list[Mark] = []
    for each in sorted(drawn, key=lambda point: -point.y):
        x, y = across(each.x), down(each.y)
        at_end = x > WIDTH - RIGHT - LABEL_WIDTH
        marks.append(
            Mark(
                x=x,
                y=y,
                bar_top=down(each.y + each.spread),
                bar_bottom=down(each.y - each.spread),
                label=each.label,
                label_x=x - 10 if at_end else x + 10,
                label_y=_free_place(marks, x, y + 4),
                at_end=at_end,
            )
        )
    return Scatter(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
        marks=tuple(marks),
        x_ticks=tuple(Tick(across(value), label) for value, label in _ticks(x_low, x_high)),
        y_ticks=tuple(Tick(down(value), label) for value, label in _ticks(y_low, y_high)),
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    # Values that are nearly the same are not drawn as if they were far apart.
    room = max((high - low) * 0.12, abs(high) * 0.02, 1e-6)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return three to nine round numbers between `low` and `high`, as they are written."""
    rough = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(low / step), math.floor(high / step)
    return [(number * step, f"{number * step:.{digits}f}") for number in range(first, last + 1)]


def _free_place(marks: Sequence[Mark], x: float, y: float) -> float:
    # Marks come from the top down, so words only have to give way downwards.
    near = [mark.label_y for mark in marks if abs(mark.x - x) < LABEL_WIDTH]
    return round(max([y, *(place + LABEL_HEIGHT for place in near if place + LABEL_HEIGHT > y)]), 1)
