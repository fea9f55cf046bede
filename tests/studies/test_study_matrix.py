"""The runs of a study, by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_case import STUDY, StudyFolder

from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.studies.matrix import StudyRun, run_key, shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


def runs_of(folder: Path, text: str) -> list[StudyRun]:
    study = StudyFolder(folder)
    study.write(text)
    return study.runs()


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(RecipeError) as refused:
        runs_of(folder, text)
    return [line.strip().replace(f"{folder}/", "") for line in str(refused.value).splitlines()[1:]]


def test_every_combination_of_one_value_per_axis_is_a_run_one_seed_after_the_other(folder: Path) -> None:
    assert [run.key for run in runs_of(folder, STUDY)] == [
        "dense_sst2_seed-0",
        "dense_bc2gm_seed-0",
        "pruned_sst2_seed-0",
        "pruned_bc2gm_seed-0",
        "dense_sst2_seed-1",
        "dense_bc2gm_seed-1",
        "pruned_sst2_seed-1",
        "pruned_bc2gm_seed-1",
    ]


def test_a_run_has_the_recipe_the_seed_and_the_values_of_its_labels(folder: Path) -> None:
    run = next(run for run in runs_of(folder, STUDY) if run.key == "pruned_bc2gm_seed-1")
    stage = run.recipe.stage("transfer")
    assert run.labels == {"way": "pruned", "task": "bc2gm", "seed": "1"}
    assert (run.reference, stage.data, stage.seeds) == ("small.yaml:bc2gm", "bc2gm", (1,))
    assert stage.pruning is not None
    assert (stage.pruning.final_sparsity, stage.pruning.end) == (0.5, 4)
    assert stage.learning_rate.peak == 5.0e-3  # what is not set stays


def test_a_run_has_only_what_its_package_depends_on_and_one_model_of_each(folder: Path) -> None:
    recipe = runs_of(folder, STUDY)[0].recipe
    assert [(stage.name, stage.seeds) for stage in recipe.stages] == [
        ("task-teacher", (3,)),
        ("transfer", (0,)),
    ]
    alone = STUDY.replace(
        "stages.transfer.pruning:",
        "stages.transfer.teacher: null\n        stages.transfer.distillation: null"
        "\n        stages.transfer.pruning:",
    )
    recipe = runs_of(folder, alone)[-1].recipe
    assert [stage.name for stage in recipe.stages] == ["transfer"]


def test_a_later_axis_and_then_a_case_come_after_an_earlier_one(folder: Path) -> None:
    text = STUDY.replace(
        "dense: {recipe", "dense: {set: {stages.transfer.weight_decay: 0.1, stages.transfer.steps: 9}, recipe"
    ).replace(
        "task: [sst2, bc2gm]",
        "task: {sst2: {max_steps: 5, set: {stages.transfer.weight_decay: 0.2}}, "
        "bc2gm: {parents: {backbone: 'a/{task}'}}}",
    )
    text += (
        "cases:\n  - {where: {way: dense, seed: 1}, max_steps: 3, set: {stages.transfer.weight_decay: 0.3}}\n"
    )
    runs = {run.key: run for run in runs_of(folder, text)}
    of = {
        key: (run.recipe.stage("transfer").weight_decay, run.recipe.stage("transfer").steps, run.max_steps)
        for key, run in runs.items()
    }
    assert of["dense_sst2_seed-0"] == (0.2, 9, 5)
    assert of["dense_sst2_seed-1"] == (0.3, 9, 3)
    assert of["dense_bc2gm_seed-0"] == (0.1, 9, None)
    assert of["pruned_sst2_seed-1"] == (0.2, 6, 5)
    assert of["pruned_bc2gm_seed-1"] == (0.0, 6, None)
    assert runs["dense_bc2gm_seed-0"].parents == {"backbone": "a/bc2gm"}
    assert runs["dense_sst2_seed-0"].parents == {}


def test_a_case_leaves_its_combinations_out(folder: Path) -> None:
    text = STUDY + "cases: [{where: {way: pruned, task: [sst2, bc2gm], seed: 1}, skip: true}]\n"
    assert [run.key for run in runs_of(folder, text)][4:] == ["dense_sst2_seed-1", "dense_bc2gm_seed-1"]


def test_names_of_runs_are_readable_and_safe_as_files() -> None:
    assert run_key({"way": "TP + LRR", "share": "25%", "seed": "3"}) == "TP-LRR_25_seed-3"
    assert run_key({"way": "../../etc", "task": "a.json"}) == "etc_a-json"
    assert run_key({"rate": "0.5", "way": "%"}) == "0-5_-"


def test_every_problem_of_a_study_is_reported_with_its_line(folder: Path) -> None:
    text = (
        STUDY.replace("columns: [task]", "columns: [tusk, seed]")
        .replace("seed: [0, 1]", "seed: [0, one]\n  spare: {}")
        .replace("small.yaml:{task}", "small.yaml:{tosk}")
    )
    text += "cases: [{where: {task: sst3}, skip: true}]\n"
    assert problems_of(folder, text) == [
        "study.yaml, line 14: $.axes.spare: needs at least one value",
        "study.yaml, line 13: $.axes.seed: seeds are whole numbers from 0, got 'one'",
        "study.yaml, line 16: $.columns[0]: unknown axis 'tusk', choose one of: seed, spare, task, way; "
        "did you mean 'task'?",
        "study.yaml, line 16: $.columns[1]: the axis seed is averaged, leave it out",
        "study.yaml, line 12: $.axes.task: is in neither rows nor columns: only the axis seed is averaged",
        "study.yaml, line 14: $.axes.spare: is in neither rows nor columns: only the axis seed is averaged",
        "study.yaml, line 17: $.cases[0].where.task: unknown label of axis task 'sst3', "
        "choose one of: bc2gm, sst2; did you mean 'sst2'?",
        "study.yaml, line 7: $.axes.way.dense.recipe: {tosk} stands for no axis, "
        "the axes are: way, task, seed, spare",
        "study.yaml, line 9: $.axes.way.pruned.recipe: {tosk} stands for no axis, "
        "the axes are: way, task, seed, spare",
    ]


def test_keys_that_are_not_there_are_reported_together_with_the_nearest(folder: Path) -> None:
    text = STUDY.replace("summary:", "sumary:").replace("dense: {recipe", "dense: {recepi")
    text += "cases: [{when: {}}]\npaper: {table: t, value: {}}\n"
    problems = problems_of(folder, text)
    assert "study.yaml, line 2: $.summary: is missing" in problems
    assert any(
        each.startswith("study.yaml, line 4: $.sumary: unknown key 'sumary'") and "'summary'" in each
        for each in problems
    )
    assert any("line 7: $.axes.way.dense.recepi:" in each and "'recipe'" in each for each in problems)
    assert any("line 16: $.cases[0].when:" in each and "'where'" in each for each in problems)
    assert any("line 17: $.paper.value:" in each and "'values'" in each for each in problems)


def test_a_value_that_its_recipe_refuses_is_reported_once_with_its_line(folder: Path) -> None:
    text = STUDY.replace("final_sparsity: 0.5,", "final_sparsity: 1.5,").replace(
        "dense: {recipe", "dense: {set: {stages.transfer.bacth_size: 4}, recipe"
    )
    problems = problems_of(folder, text)
    assert len(problems) == 2  # of eight runs
    assert problems[0].startswith("study.yaml, line 7: $.stages[2].bacth_size: unknown key, did you mean")
    assert problems[1].startswith("study.yaml, line 11: $.stages[2].pruning.final_sparsity:")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'dense: {recipe: "small.yaml:{task}"}',
            "dense: {}",
            "study.yaml, line 6: $.axes: way dense, task sst2, seed 0 has no recipe: "
            "name one in a value of an axis",
        ),
        (
            "stages.transfer.pruning:",
            "stages.transfr.lock:",
            "study.yaml, line 11: stages.transfr.lock: unknown stage 'transfr', choose one of: task-teacher, "
            "transfer, unused; did you mean 'transfer'? of recipe small.yaml:sst2",
        ),
        (
            "dense: {recipe",
            "dense: {parents: {techer: a/b}, recipe",
            "study.yaml, line 7: recipe small-sst2 has no parent 'techer', it has: backbone",
        ),
        (
            "task: [sst2, bc2gm]",
            "task: [sst2, SST2]",
            "study.yaml, line 6: $.axes: way dense, task SST2, seed 0 and way dense, task sst2, seed 0 would "
            "both be called dense_SST2_seed-0: rename one",
        ),
    ],
)
def test_a_run_that_cannot_be_is_reported(folder: Path, old: str, new: str, problem: str) -> None:
    assert old in STUDY
    assert problem in problems_of(folder, STUDY.replace(old, new))


def test_a_recipe_that_is_not_there_is_reported_where_it_is_named(folder: Path) -> None:
    (problem,) = problems_of(folder, STUDY.replace('dense: {recipe: "small.yaml', 'dense: {recipe: "smull'))[
        :1
    ]
    assert problem.startswith("study.yaml, line 7: smull:sst2 is no file, and unknown recipe 'smull'")


@given(num_runs=st.integers(0, 50), count=st.integers(1, 20), data=st.data())
def test_shards_cover_every_run_exactly_once_and_evenly(
    num_runs: int, count: int, data: st.DataObject
) -> None:
    runs: list[StudyRun] = [object() for _ in range(num_runs)]  # type: ignore[misc]
    shards = [shard(runs, index, count) for index in range(1, count + 1)]
    assert sorted(id(run) for part in shards for run in part) == sorted(id(run) for run in runs)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    outside = data.draw(st.one_of(st.integers(max_value=0), st.integers(min_value=count + 1)))
    with pytest.raises(RecipeError, match="must be 1/"):
        shard(runs, outside, count)
