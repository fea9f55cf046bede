import pytest

from sparsezoo_hub.core.recipe_source import read_nodes
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import RecipeError


def test_a_key_that_is_there_twice_is_refused_with_its_line() -> None:
    with pytest.raises(RecipeError, match=r"^r\.yaml, line 4: 'summary' is there twice$"):
        parse_recipe("\nname: x\nsummary: one\nsummary: two\n", "r.yaml")


def test_an_anchor_that_overrides_what_it_merges_may_be_used_twice() -> None:
    node = read_nodes("a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: [*b, *b]\n", "r.yaml")
    assert node.plain["c"] == [{"x": 2, "y": 1}] * 2


def test_aliases_that_multiply_are_refused() -> None:
    text = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
        for old, new in zip("abcdef", "bcdefg", strict=True)
    )
    with pytest.raises(RecipeError, match=r"r\.yaml has more than 50000 values"):
        parse_recipe(text, "r.yaml")


def test_a_path_that_goes_on_in_a_text_has_the_origin_of_the_text() -> None:
    node = read_nodes("a: word\n", "f.yaml")
    assert node.origin_of(["a", 0]) == node.content["a"].origin
