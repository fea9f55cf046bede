import re

import pytest

from sparsezoo_hub.core.search_grids import GRIDS, grid_points, point_label
from sparsezoo_hub.errors import RecipeError

GRID = {"learning_rate": (1e-4, 3e-5), "epochs": (3,), "weight_decay": (0.0, 0.01)}


def test_every_combination_is_a_point_in_the_order_of_the_grid() -> None:
    assert grid_points(GRID) == [
        {"learning_rate": 1e-4, "epochs": 3, "weight_decay": 0.0},
        {"learning_rate": 1e-4, "epochs": 3, "weight_decay": 0.01},
        {"learning_rate": 3e-5, "epochs": 3, "weight_decay": 0.0},
        {"learning_rate": 3e-5, "epochs": 3, "weight_decay": 0.01},
    ]


def test_a_random_choice_of_points_is_always_the_same_and_has_none_twice() -> None:
    grid = GRIDS["oberta"]["token_classification"]
    chosen = grid_points(grid, 10)
    assert chosen == grid_points(grid, 10)
    assert len({tuple(point.items()) for point in chosen}) == 10
    assert all(point in grid_points(grid) for point in chosen)
    assert chosen != grid_points(grid)[:10]
    assert len(grid_points(grid, 1000)) == len(grid_points(grid)) == 48  # 12 rates, 4 decays: table 23


def test_prune_ofa_searches_as_many_points_as_table_6_has() -> None:
    assert len(grid_points(GRIDS["prune-ofa"]["question_answering"])) == 2 * 2 * 3
    assert len(grid_points(GRIDS["prune-ofa"]["sequence_classification"])) == 3 * 2 * 3 * 3


def test_a_label_names_what_is_searched_and_is_fit_for_a_folder() -> None:
    points = grid_points(GRID)
    assert point_label(points[1], GRID) == "learning_rate-0.0001,weight_decay-0.01"
    labels = [point_label(point, GRID) for point in points]
    assert len(set(labels)) == 4
    assert all(re.fullmatch(r"[\w.,+-]+", label) for label in labels)
    only = {"learning_rate": (1e-4,)}
    assert point_label(grid_points(only)[0], only) == "only"


@pytest.mark.parametrize("values", [(), (0.1, 0.1)])
def test_a_search_over_nothing_or_over_the_same_twice_is_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(RecipeError, match="a search over weight_decay needs different values"):
        grid_points({"weight_decay": values})
