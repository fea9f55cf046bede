from fractions import Fraction

import pytest

from sparsezoo_hub.core.structures import STRUCTURES, check_structure, parse_structure
from sparsezoo_hub.errors import SparsityError

SHAPES = {"a": (8, 12), "b": (5, 6)}


@pytest.mark.parametrize("name", STRUCTURES)
def test_named_structures_parse_to_themselves(name: str) -> None:
    assert parse_structure(name) == STRUCTURES[name]


@pytest.mark.parametrize(
    ("name", "most", "width"),
    [("2:4", Fraction(1, 2), 4), ("1:3", Fraction(2, 3), 3), ("4:8", Fraction(1, 2), 8), ("1x4", 1, 4)],
)
def test_a_structure_knows_its_limit_and_its_width(name: str, most: Fraction, width: int) -> None:
    structure = parse_structure(name)
    assert (structure.name, structure.max_sparsity, structure.width) == (name, most, width)


@pytest.mark.parametrize("name", ["0:4", "4:4", "5:4", "1x0"])
def test_a_structure_without_sense_is_refused(name: str) -> None:
    with pytest.raises(SparsityError, match=f"'{name}'.*(1 <= N < M|B >= 1)"):
        parse_structure(name)


@pytest.mark.parametrize("name", ["2-4", "unstructure", "4x1", "2:4 ", "٢:٤"])
def test_an_unknown_structure_lists_the_choices(name: str) -> None:
    with pytest.raises(ValueError, match=r"N:M and 1xB.*1x4, 2:4, unstructured"):
        parse_structure(name)


def test_the_nearest_structure_is_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'unstructured'"):
        parse_structure("unstructurd")


def test_a_sparsity_beyond_the_structure_is_refused_with_the_most_it_can_reach() -> None:
    with pytest.raises(SparsityError, match=r"'2:4' can reach a sparsity of at most 0\.5 \(1/2\), got 0\.9"):
        check_structure(STRUCTURES["2:4"], 0.9, {"a": (8, 12)})


@pytest.mark.parametrize(("name", "sparsity"), [("2:4", 0.5), ("1:3", 2 / 3), ("1:6", 5 / 6), ("1x4", 0.99)])
def test_the_limit_itself_is_reached(name: str, sparsity: float) -> None:
    check_structure(parse_structure(name), sparsity, {"a": (8, 12)})


@pytest.mark.parametrize("name", ["2:4", "1x4"])
def test_a_weight_that_does_not_divide_is_named(name: str) -> None:
    with pytest.raises(SparsityError, match=r"multiples of 4; 1 of 2 weights.*first is b of shape \(5, 6\)"):
        check_structure(parse_structure(name), 0.5, SHAPES)


def test_a_sparsity_outside_its_range_is_refused() -> None:
    with pytest.raises(SparsityError, match=r"\[0, 1\)"):
        check_structure(STRUCTURES["unstructured"], 1.0, SHAPES)
