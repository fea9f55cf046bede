from pathlib import Path

import pytest

from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.recipe_library import FOLDER, load_recipe

QUICKSTART = "quickstart/bert-tiny-90"


BASE = """
name: base
summary: A base.
parents: {backbone: {model_type: bert, vocab_size: 200}}
corpora: {text: {description: some English}}
stages:
  - name: first
    model: backbone
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 100
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
  - name: pruned
    model: first
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 100
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
    pruning: {final_sparsity: 0.9, end: 80, interval: 10}
package: pruned
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    return path


def written(folder: Path, text: str, name: str = "own.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_what_extends_another_has_its_parts_and_its_own_in_their_place(base: Path) -> None:
    text = """
extends: base.yaml
name: own
stages:
  - {name: pruned, steps: 200, pruning: {final_sparsity: 0.8}}
  - name: last
    model: pruned
    lock: true
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 5
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
"""
    expected = BASE.replace("name: base", "name: own").replace("final_sparsity: 0.9", "final_sparsity: 0.8")
    head, pruned = expected.split("  - name: pruned")
    pruned = pruned.replace("steps: 100", "steps: 200")
    last = text[text.index("  - name: last") :]
    pruned = pruned.replace("package: pruned", f"{last}package: pruned")
    own = load_recipe(written(base.parent, text))
    assert own == parse_recipe(f"{head}  - name: pruned{pruned}", "by hand")


def test_a_variant_changes_what_it_names_and_is_named_after_itself(base: Path) -> None:
    base.write_text(BASE + "variants:\n  '80': {stages: [{name: pruned, pruning: {final_sparsity: 0.8}}]}\n")
    recipe = load_recipe(f"{base}:80")
    assert recipe.name == "base-80"
    pruning = recipe.stage("pruned").pruning
    assert pruning is not None
    assert (pruning.final_sparsity, pruning.end) == (0.8, 80)
    with pytest.raises(RecipeError, match="needs a variant, base:NAME, choose one of: 80"):
        load_recipe(str(base))
    with pytest.raises(RecipeError, match="unknown variant '90', choose one of: 80"):
        load_recipe(f"{base}:90")


def test_a_variant_may_extend_others_of_its_file_and_a_file_in_their_order(base: Path) -> None:
    written(base.parent, "stages: [{name: pruned, steps: 400, weight_decay: 0.5}]\n", "_longer.yaml")
    base.write_text(
        BASE
        + """variants:
  '80': {stages: [{name: pruned, steps: 200, pruning: {final_sparsity: 0.8}}]}
  80-longer: {extends: ['80', _longer.yaml], stages: [{name: pruned, weight_decay: 0.25}]}
  80-again: {extends: 80-longer}
  first: {extends: second}
  second: {extends: first}
"""
    )
    for name in ("80-longer", "80-again"):
        recipe = load_recipe(f"{base}:{name}")
        stage = recipe.stage("pruned")
        assert recipe.name == f"base-{name}"
        assert stage.pruning is not None
        assert (stage.steps, stage.weight_decay, stage.pruning.final_sparsity) == (400, 0.25, 0.8)
    with pytest.raises(RecipeError, match=r"line \d+: variant first extends itself: first → second → first"):
        load_recipe(f"{base}:first")


def test_a_variant_of_what_has_none_is_refused(base: Path) -> None:
    with pytest.raises(RecipeError, match="has no variants: leave :90 out"):
        load_recipe(f"{base}:90")


def test_a_problem_names_the_file_and_line_that_it_comes_from(base: Path) -> None:
    own = written(base.parent, "extends: base.yaml\nstages:\n  - {name: pruned, steps: 60}\n")
    end = next(number for number, line in enumerate(BASE.splitlines(), 1) if "interval" in line)
    with pytest.raises(RecipeError) as caught:
        load_recipe(own)
    assert f"{base}, line {end}: $.stages[1].pruning.end: must be within the stage's 60 steps" in str(
        caught.value
    )


def test_recipes_that_extend_each_other_are_refused(base: Path) -> None:
    base.write_text("extends: own.yaml\n" + BASE)
    own = written(base.parent, "extends: base.yaml\n")
    with pytest.raises(RecipeError, match=r"own\.yaml extends itself: .*own\.yaml → .*base\.yaml → "):
        load_recipe(own)


def test_the_recipe_that_is_extended_must_exist(base: Path) -> None:
    own = written(base.parent, "extends: quickstart/bert-tny-90\n")
    with pytest.raises(RecipeError, match="did you mean 'quickstart/bert-tiny-90'"):
        load_recipe(own)


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
    assert "$.parents: is missing" in str(caught.value)
