import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsezoo_hub.core.recipe import Provenance, Recipe
from sparsezoo_hub.core.recipe_text import parse_recipe, recipe_schema, recipe_text
from sparsezoo_hub.core.stage_windows import in_steps
from sparsezoo_hub.errors import RecipeError

VALID = """
format: 1
name: tiny
summary: A test.
parents: {backbone: {model_type: bert, vocab_size: 200, config: {hidden_size: 32}}}
corpora: {text: {description: some English}}
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
    """The problems, without the file's line that each begins with."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("r.yaml ")
    assert all(line.startswith("  r.yaml, line ") for line in rest)
    return [line.split(": ", 1)[1] for line in rest]


def test_a_valid_recipe_reads_back_equal() -> None:
    recipe = parse_recipe(VALID, "r.yaml")
    assert parse_recipe(recipe_text(recipe), "again") == recipe


def test_the_provenance_of_a_run_reads_back_equal() -> None:
    provenance = Provenance(
        parents={"backbone": "random weights"}, data={"text": ("a.txt",)}, versions={"torch": "2.13.0"}
    )
    recipe = parse_recipe(VALID, "r.yaml").model_copy(update={"provenance": provenance})
    assert parse_recipe(recipe_text(recipe), "again") == recipe


def test_every_problem_is_reported_at_once_with_its_path_and_line() -> None:
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
        "$.stages[1].pruning.intervall",
    ]
    assert "did you mean 'rewinding'?" in problems[1]
    assert "[0, 1), got 90" in problems[2]
    assert problems[3].endswith("unknown key, did you mean 'interval'?")
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml")
    lines = text.splitlines()
    for problem, part in zip(str(caught.value).splitlines()[1:], ("0", "rewindin", "90", "10"), strict=True):
        number = int(problem.split("line ")[1].split(":")[0])
        assert lines[number - 1].strip(" }").endswith(part) or part in lines[number - 1]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "model: teacher",
            "model: techer",
            "stages[1].model: must be a parent or an earlier stage (backbone, teacher), got 'techer'; did "
            "you mean 'teacher'?",
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
            "stages[1].pruning.end: must not be before start and policy_end (50), got 40",
        ),
        (
            "initial_sparsity: 0.3",
            "initial_sparsity: 0.95",
            "stages[1].pruning.final_sparsity: must be at least initial_sparsity (0.95), got 0.9 for encoder",
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
            "stages[1].name: 'teacher' is taken by an earlier stage or a parent",
        ),
        (
            "peak: 1.0e-3, schedule",
            "peak: -1, schedule",
            "stages[1].learning_rate.peak: input should be greater than 0, got -1",
        ),
        (
            "peak: 1.0e-3, schedule",
            "peak: .inf, schedule",
            "stages[1].learning_rate.peak: input should be a finite number, got inf",
        ),
        (
            "final_sparsity: 0.9",
            "targets: [], final_sparsity: 0.9",
            "stages[1].pruning.targets: name at least one target, for example [encoder]",
        ),
        (
            "interval: 10",
            "interval: 2.5",
            "stages[1].pruning.interval: must be whole steps, for the stage's length is in steps; got 2.5",
        ),
        (
            ", interval: 10",
            "",
            "stages[1].pruning.interval: is missing: a gradual schedule needs it",
        ),
        (
            "final_sparsity: 0.9",
            "structure: '2:4', final_sparsity: 0.9",
            "stages[1].pruning.structure: structure '2:4' can reach a sparsity of at most 0.5 (1/2), "
            "got 0.9; "
            "lower the sparsity or choose another structure",
        ),
        (
            "final_sparsity: 0.9",
            "targets: {encoder: 0.9}, final_sparsity: 0.9",
            "stages[1].pruning.final_sparsity: is needed, unless targets give each its own: then leave "
            "it out",
        ),
        (
            "hardness: 0.5, ",
            "lambda_pt: 0.5, ",
            "stages[1].distillation.hardness: give hardness, or both lambda_pt and lambda_kd",
        ),
        (
            "peak: 1.0e-3, schedule: rewinding",
            "peak: 1.0e-3, schedule: cyclic",
            "stages[1].learning_rate.cycle: goes with the schedule cyclic, give both or none",
        ),
        (
            "peak: 1.0e-3, schedule: rewinding",
            "peak: 1.0e-3, schedule: linear, cycle: 5",
            "stages[1].learning_rate.cycle: goes with the schedule cyclic, give both or none",
        ),
        (
            "peak: 1.0e-3, schedule: rewinding",
            "peak: 1.0e-3, schedule: cyclic, cycle: 5, restarts: [{at: 3}]",
            "stages[1].learning_rate.restarts: go with the schedule restarts, give both or none",
        ),
        (
            "peak: 1.0e-3, schedule: rewinding",
            "peak: 1.0e-3, schedule: restarts",
            "stages[1].learning_rate.restarts: go with the schedule restarts, give both or none",
        ),
        (
            "    steps: 100\n",
            "    steps: 100\n    quantization: {start: 60, freeze: 60}\n",
            "stages[1].quantization.freeze: must be after start (60), got 60",
        ),
        (
            "    steps: 100\n",
            "    steps: 100\n    quantization: {start: 60, freeze: 101}\n",
            "stages[1].quantization.freeze: must be within the stage's 100 steps, got 101",
        ),
        (
            "    steps: 100\n",
            "    steps: 100\n    keep: best\n",
            "stages[1].evaluations: must be at least 2 to keep the best of them",
        ),
        (
            "    steps: 100\n",
            "    steps: 100\n    fraction: 0.5\n",
            "stages[1].fraction: is for labelled tasks; give masked LM less text",
        ),
        (
            "    steps: 100\n",
            "    steps: 100\n    epochs: 2\n",
            "stages[0].steps: give the stage's length in steps or in epochs, not both",
        ),
        (
            "initial_sparsity: 0.3, ",
            "fisher: {block_size: 4}, ",
            "stages[1].pruning.fisher: is for the method optimal_bert_surgeon, leave it out",
        ),
        (
            "start: 10, ",
            "method: movement, ",
            "stages[1].pruning.start: movement needs training steps before it prunes: start later, or at "
            "initial_sparsity 0",
        ),
    ],
)
def test_a_problem_is_named_with_path_value_and_way_out(old: str, new: str, problem: str) -> None:
    assert old in VALID
    assert f"$.{problem}" in problems_of(VALID.replace(old, new))


def test_rewinding_without_pruning_is_refused() -> None:
    text = VALID.replace("{peak: 1.0e-3}", "{peak: 1.0e-3, schedule: rewinding}")
    assert problems_of(text) == [
        "$.stages[0].learning_rate.schedule: rewinding follows mask updates, add pruning"
    ]


@pytest.mark.parametrize("text", ["[1, 2]", "", "a: [", "!!python/object/apply:os.system [ls]"])
def test_text_that_is_no_recipe_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml") as caught:
        parse_recipe(text, "r.yaml")
    assert "\n" not in str(caught.value)


def in_epochs() -> str:
    """The same recipe, its second stage two epochs long."""
    head, tail = VALID.rsplit("    steps: 100\n", 1)
    mask = "{initial_sparsity: 0.3, final_sparsity: 0.9, start: 0.2, policy_end: 1, end: 1.6, interval: 0.1}"
    tail = tail.replace(tail[tail.index("{initial_sparsity") : tail.index("package")], f"{mask}\n")
    return f"{head}    epochs: 2\n{tail}"


def test_epochs_become_steps_with_every_point_in_proportion() -> None:
    stage = in_steps(parse_recipe(in_epochs(), "r.yaml").stage("student"), steps_per_epoch=50)
    assert (stage.steps, stage.epochs) == (100, None)
    assert stage.pruning is not None
    assert (stage.pruning.start, stage.pruning.policy_end, stage.pruning.end) == (10, 50, 80)
    assert stage.pruning.interval == 5


@settings(deadline=None)
@given(max_steps=st.integers(1, 150), steps_per_epoch=st.integers(1, 500))
def test_a_shortened_stage_is_valid_and_keeps_its_sparsities(max_steps: int, steps_per_epoch: int) -> None:
    for text in (VALID, in_epochs()):
        recipe = parse_recipe(text, "r.yaml")
        stages = tuple(in_steps(stage, steps_per_epoch, max_steps) for stage in recipe.stages)
        shortened = recipe.model_copy(update={"stages": stages})
        assert parse_recipe(recipe_text(shortened), "again") == shortened
        whole = 100 if text == VALID else 2 * steps_per_epoch
        assert stages[1].steps == min(whole, max_steps)
        pruning = stages[1].pruning
        assert pruning is not None
        assert (pruning.initial_sparsity, pruning.final_sparsity) == (0.3, 0.9)


def test_the_schema_accepts_what_the_reader_accepts_and_refuses_an_unknown_key() -> None:
    schema = recipe_schema()
    validator = jsonschema.Draft202012Validator(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert not list(validator.iter_errors(yaml.safe_load(VALID)))
    assert not list(validator.iter_errors({"extends": "some", "stages": [{"name": "a", "steps": 5}]}))
    assert list(validator.iter_errors({**yaml.safe_load(VALID), "nam": "x"}))
    assert list(validator.iter_errors({"name": "incomplete"}))
    assert list(validator.iter_errors({"extends": "some", "stages": [{"name": "a", "step": 5}]}))


def test_an_unknown_stage_name_lists_the_choices() -> None:
    recipe: Recipe = parse_recipe(VALID, "r.yaml")
    with pytest.raises(ValueError, match="choose one of: student, teacher; did you mean 'student'"):
        recipe.stage("studen")
