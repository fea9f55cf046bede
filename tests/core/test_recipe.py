import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsezoo_hub.core.recipe import Provenance, Recipe
from sparsezoo_hub.core.recipe_text import parse_recipe, recipe_text, scaled
from sparsezoo_hub.errors import RecipeError

VALID = """
format: 1
name: tiny
summary: A test.
backbone: {model_type: bert, vocab_size: 200, config: {hidden_size: 32}}
stages:
  - name: teacher
    model: backbone
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 100
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
  - name: student
    model: teacher
    teacher: teacher
    distillation: {hardness: 0.5, temperature: 2.0}
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 100
    batch_size: 8
    learning_rate: {peak: 1.0e-3, schedule: rewinding}
    pruning: {initial_sparsity: 0.3, final_sparsity: 0.9, start: 10, policy_end: 50, end: 80, interval: 10}
package: student
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("r.yaml ")
    return [line.strip() for line in rest]


def test_a_valid_recipe_reads_back_equal() -> None:
    recipe = parse_recipe(VALID, "r.yaml")
    assert parse_recipe(recipe_text(recipe), "again") == recipe


def test_the_provenance_of_a_run_reads_back_equal() -> None:
    provenance = Provenance(backbone="random weights", text=("a.txt",), versions={"torch": "2.13.0"})
    recipe = parse_recipe(VALID, "r.yaml").model_copy(update={"provenance": provenance})
    assert parse_recipe(recipe_text(recipe), "again") == recipe


def test_every_problem_is_reported_at_once_with_its_path() -> None:
    text = (
        VALID.replace("final_sparsity: 0.9", "final_sparsity: 90")
        .replace("interval: 10", "intervall: 10")
        .replace("schedule: rewinding", "schedule: rewindin")
        .replace("batch_size: 8", "batch_size: 0", 1)
    )
    problems = problems_of(text)
    assert [problem.split(": ")[0] for problem in problems] == [
        "$.stages[0].batch_size",
        "$.stages[1].learning_rate.schedule",
        "$.stages[1].pruning.final_sparsity",
        "$.stages[1].pruning.interval",
        "$.stages[1].pruning.intervall",
    ]
    assert "did you mean 'rewinding'?" in problems[1]
    assert "[0, 1), got 90" in problems[2]
    assert problems[4].endswith("unknown key, did you mean 'interval'?")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "model: teacher",
            "model: techer",
            "stages[1].model: must be an earlier stage (backbone, teacher), got 'techer'",
        ),
        (
            "end: 80",
            "end: 800",
            "stages[1].pruning.end: must be within the stage's 100 steps, got 800",
        ),
        (
            "policy_end: 50",
            "policy_end: 5",
            "stages[1].pruning.policy_end: must be after start (10), got 5",
        ),
        (
            "end: 80",
            "end: 40",
            "stages[1].pruning.end: must not be before policy_end (50), got 40",
        ),
        (
            "initial_sparsity: 0.3",
            "initial_sparsity: 0.95",
            "stages[1].pruning.final_sparsity: must be at least initial_sparsity (0.95), got 0.9",
        ),
        (
            "package: student",
            "package: studnt",
            "package: must name a stage (teacher, student), got 'studnt'",
        ),
        (
            "    teacher: teacher\n",
            "",
            "stages[1]: teacher and distillation go together, give both or none",
        ),
        (
            "name: student",
            "name: teacher",
            "stages[1].name: 'teacher' is taken by an earlier stage",
        ),
        (
            "peak: 1.0e-3, schedule",
            "peak: -1, schedule",
            "stages[1].learning_rate.peak: input should be greater than 0, got -1",
        ),
        (
            "final_sparsity: 0.9",
            "targets: [], final_sparsity: 0.9",
            "stages[1].pruning.targets: name at least one target, for example [encoder]",
        ),
    ],
)
def test_a_problem_is_named_with_path_value_and_way_out(old: str, new: str, problem: str) -> None:
    assert old in VALID
    assert f"$.{problem}" in problems_of(VALID.replace(old, new))


def test_rewinding_without_pruning_is_refused() -> None:
    text = VALID.replace(
        "learning_rate: {peak: 1.0e-3}", "learning_rate: {peak: 1.0e-3, schedule: rewinding}"
    )
    assert problems_of(text) == [
        "$.stages[0].learning_rate.schedule: rewinding follows mask updates, add pruning"
    ]


@pytest.mark.parametrize("text", ["[1, 2]", "", "a: [", "!!python/object/apply:os.system [ls]"])
def test_text_that_is_no_recipe_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml") as caught:
        parse_recipe(text, "r.yaml")
    assert "\n" not in str(caught.value)


@given(max_steps=st.integers(1, 150))
def test_a_shortened_recipe_is_valid_and_keeps_its_sparsities(max_steps: int) -> None:
    shortened = scaled(parse_recipe(VALID, "r.yaml"), max_steps)
    assert parse_recipe(recipe_text(shortened), "again") == shortened
    assert shortened.stage("student").steps == min(100, max_steps)
    pruning = shortened.stage("student").pruning
    assert pruning is not None
    assert (pruning.initial_sparsity, pruning.final_sparsity) == (0.3, 0.9)


def test_an_unknown_stage_name_lists_the_choices() -> None:
    recipe: Recipe = parse_recipe(VALID, "r.yaml")
    with pytest.raises(ValueError, match="choose one of: student, teacher; did you mean 'student'"):
        recipe.stage("studen")
