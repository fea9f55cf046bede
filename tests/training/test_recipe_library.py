from pathlib import Path

import pytest

from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.recipe_library import FOLDER, load_recipe, recipe_names
from sparsezoo_hub.training.stage_data import check_data

QUICKSTART = "quickstart/bert-tiny-90"


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_with_the_package_is_sound(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name.rpartition("/")[2]
    assert recipe.stage(recipe.package).pruning is not None or recipe.stage(recipe.package).lock
    check_data(recipe)


def test_a_recipe_is_found_by_its_name_by_its_place_in_the_repository_and_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (FOLDER / f"{QUICKSTART}.yaml").read_text()
    expected = parse_recipe(text, "the file itself")
    own = tmp_path / "mine.yml"
    own.write_text(text)
    monkeypatch.chdir(tmp_path)  # far from the repository
    for reference in (QUICKSTART, f"{QUICKSTART}.yaml", f"recipes/{QUICKSTART}.yaml", str(own), "mine.yml"):
        assert load_recipe(reference) == expected


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("quickstart/bert-tny-90")
    assert str(caught.value).startswith("quickstart/bert-tny-90 is no file, and unknown recipe")
    assert f"did you mean '{QUICKSTART}'?" in str(caught.value)


def test_a_folder_is_not_taken_for_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is no file, and unknown recipe"):
        load_recipe(str(tmp_path))


def test_a_binary_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"recipe\.yaml cannot be read: .*utf-8") as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)


def test_problems_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: broken\n")
    with pytest.raises(RecipeError, match=r"broken\.yaml has \d problems:") as caught:
        load_recipe(str(path))
    assert "$.backbone: is missing" in str(caught.value)
