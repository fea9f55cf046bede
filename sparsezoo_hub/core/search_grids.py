"""Search grids: the hyper-parameters that the papers searched for a transfer, and the points of a search."""

import itertools
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sparsezoo_hub.errors import RecipeError

Point = Mapping[str, float]
Grid = Mapping[str, Sequence[float]]

_GLUE, _SQUAD = "sequence_classification", "question_answering"
_OBERTA: Grid = MappingProxyType(
    {
        "learning_rate": (2.1e-4, 1.9e-4, 1.7e-4, 1.5e-4, 1.3e-4, 1.1e-4, 9e-5, 7e-5, 5e-5, 3e-5, 2e-5, 1e-5),
        "weight_decay": (0.0, 0.01, 0.05, 0.1),
    }
)
_PRUNE_OFA: Grid = MappingProxyType({"weight_decay": (0.0, 0.01), "warmup_ratio": (0.0, 0.01, 0.1)})
# By paper and kind of task. Prune OFA, table 6, its 1.5e-5 for GLUE as printed; oBERTa, table 23.
GRIDS: Mapping[str, Mapping[str, Grid]] = {
    "prune-ofa": {
        _GLUE: {"learning_rate": (1e-4, 1.2e-4, 1.5e-5), "epochs": (3, 6, 9), **_PRUNE_OFA},
        _SQUAD: {"learning_rate": (1.5e-4, 1.8e-4), "epochs": (8,), **_PRUNE_OFA},
    },
    "oberta": {_GLUE: _OBERTA, _SQUAD: _OBERTA, "token_classification": _OBERTA},
}


def grid_points(grid: Grid, trials: int | None = None) -> list[Point]:
    """Return the points of a grid: all of them in order, or a random choice that is always the same.

    Args:
        grid: values by hyper-parameter; a single value is no search, but part of every point.
        trials: how many points at most, drawn without repetition; None for all.

    Raises:
        RecipeError: if a hyper-parameter has no value, or the same one twice.
    """
    for name, values in grid.items():
        if not values or len(set(values)) != len(values):
            raise RecipeError(f"a search over {name} needs different values, got {list(values)}")
    points: list[Point] = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    if trials is None or trials >= len(points):
        return points
    return random.Random(0).sample(points, trials)  # noqa: S311 - not a secret


def point_label(point: Point, grid: Grid) -> str:
    """Return what sets a point of a grid apart, fit for a folder's name; ``only`` in a grid of one."""
    parts = [f"{name}-{value:g}" for name, value in point.items() if len(grid[name]) > 1]
    return ",".join(parts) or "only"
