"""Every study that comes with the package."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from run_case import write_texts
from task_case import write_task

from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.training.recipe_library import recipe_names
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.studies.library import FOLDER, load_study, study_names
from sparsezoo_hub.training.studies.matrix import StudyRun, study_runs
from sparsezoo_hub.training.studies.options import StudyOptions, check_made
from sparsezoo_hub.training.studies.table import study_table
from sparsezoo_hub.training.tasks import TASKS

NAMES = recipe_names()
RUNS = {name: study_runs(load_study(name)) for name in study_names()}
NUMBER = re.compile(r"[:\[,] *-?\d[\d.]*(e-?\d+)? *([\]},]|$)")


def run_of(study: str, key: str) -> StudyRun:
    return next(run for run in RUNS[study] if run.key == key)


def transfer_of(study: str, key: str) -> dict[str, object]:
    recipe = run_of(study, key).recipe
    return recipe.stage(recipe.package).model_dump()


def test_there_is_a_study_for_every_table() -> None:
    # Values of the axes multiplied by hand; Sparse*BERT: 7 ways, 8 tasks of 5 seeds and 2 of 10.
    assert {name: len(runs) for name, runs in RUNS.items()} == {
        "minilm-data-size": 3 * 3 * 3,
        "minilm-transfer": (3 * 7 + 2 * 2) * 3,
        "oberta-distillation": 6 * 3 * 6,
        "oberta-frozen-embeddings": 6 * 2 * 6,
        "prune-ofa-ablation": 7 * 2 * 2,
        "sparse-bert-data-size": 3 * 8 * 5,
        "sparse-bert-pruning-stage": 7 * (8 * 5 + 2 * 10),
    }


@pytest.mark.parametrize("name", RUNS)
def test_every_run_is_a_recipe_on_a_task_with_one_seed(name: str) -> None:
    for run in RUNS[name]:
        stage = run.recipe.stage(run.recipe.package)
        assert TASKS[stage.data].kind == stage.objective.kind
        assert stage.seeds == (int(run.labels["seed"]),)
        assert Recipe.model_validate(run.recipe.model_dump()) == run.recipe
        for parent in run.recipe.parents.values():
            assert parent.recipe is None or parent.recipe in NAMES


@pytest.mark.parametrize("name", RUNS)
def test_a_parent_that_a_recipe_makes_is_asked_for_by_that_name(name: str) -> None:
    made = {parent.recipe for run in RUNS[name] for parent in run.recipe.parents.values() if parent.recipe}
    options = StudyOptions(models={each: f"packages/{each}" for each in made})
    options.check(RUNS[name])
    for run in RUNS[name]:
        check_made(run, options.of_parents(run))
        needed = {parent.recipe for parent in run.recipe.parents.values() if parent.recipe}
        assert needed <= {model.removeprefix("packages/") for model in options.of_parents(run).values()}
        if needed:
            with pytest.raises(ValueError, match=f"--backbone {needed.pop()}=FOLDER"):
                check_made(run, run.parents)


def test_a_model_given_for_what_a_parent_is_comes_before_one_given_for_its_name() -> None:
    dense, upstream = (run_of("minilm-transfer", f"{way}_sst2_seed-0") for way in ("dense", "upstream"))
    options = StudyOptions(models={"backbone": "a", "minilm/l6-90": "b"}, run_options=RunOptions(max_steps=5))
    assert (options.of_parents(dense), options.of_parents(upstream)) == ({"backbone": "a"}, {"backbone": "b"})
    options = StudyOptions(models={"sentence-transformers/all-MiniLM-L6-v2": "c"})
    assert (options.of_parents(dense), options.of_parents(upstream)) == ({"backbone": "c"}, {})
    pubmedbert = run_of("sparse-bert-pruning-stage", "pubmedbert-finetune_gad_seed-0")
    hub_id = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    assert StudyOptions().of_parents(pubmedbert) == {"backbone": hub_id}
    assert StudyOptions(models={hub_id: "d"}).of_parents(pubmedbert) == {"backbone": "d"}
    assert StudyOptions(models={"backbone": "tiny"}).of_parents(pubmedbert) == {"backbone": "tiny"}


def test_the_shorter_of_two_limits_counts() -> None:
    run = run_of("minilm-transfer", "dense_sst2_seed-0")
    for own, given, expected in ((None, None, None), (3, None, 3), (None, 5, 5), (3, 5, 3), (7, 5, 5)):
        options = StudyOptions(run_options=RunOptions(max_steps=given, bf16=True)).of_run(
            replace(run, max_steps=own)
        )
        assert options == RunOptions(max_steps=expected, bf16=True)


@pytest.mark.parametrize("name", RUNS)
def test_every_cell_of_a_papers_study_has_the_papers_number_or_a_reason(name: str) -> None:
    study = load_study(name).study
    if study.paper is None:
        return
    table = study_table(study, RUNS[name], {})
    left_out = {"oberta-distillation": "mnli", "oberta-frozen-embeddings": "squad-v2"}.get(name)
    for (_, column), cell in table.cells.items():
        assert (cell.paper is None) == (column == (left_out,))
    assert (left_out is None) or "left out" in study.paper.note


def test_dense_upstream_and_finetune_pruned_differ_as_their_names_say() -> None:
    for study, keys in (
        ("minilm-transfer", ("dense_bc2gm_seed-1", "upstream_bc2gm_seed-1", "finetune_bc2gm_seed-1")),
        ("sparse-bert-data-size", ("dense_25_seed-1", "upstream_25_seed-1", "finetune_25_seed-1")),
        (
            "sparse-bert-pruning-stage",
            ("bert_gad_seed-1", "bert-upstream_gad_seed-1", "bert-finetune_gad_seed-1"),
        ),
    ):
        dense, upstream, finetune = (transfer_of(study, key) for key in keys)
        assert (dense["lock"], dense["pruning"]) == (False, None)
        assert (upstream["lock"], upstream["pruning"]) == (True, None)
        assert finetune["lock"] is False
        assert finetune["pruning"]["final_sparsity"] == 0.9  # type: ignore[index]
        assert dense["epochs"] == upstream["epochs"] == finetune["epochs"]
        assert dense["fraction"] == upstream["fraction"] == finetune["fraction"]


def test_the_share_is_that_of_the_label_and_the_teacher_has_all() -> None:
    for run in RUNS["sparse-bert-data-size"]:
        share = float(run.labels["share"].removesuffix("%")) / 100
        assert [stage.fraction for stage in run.recipe.stages] == [1.0, share]


def test_the_ablation_leaves_out_what_its_label_does_not_have() -> None:
    for run in RUNS["prune-ofa-ablation"]:
        stages = {stage.name: stage for stage in run.recipe.stages}
        steps = run.labels["steps"]
        parts = {"TP", "LRR", "KD", "transfer KD"} if steps == "all" else {*steps.split(" + ")} - {"nothing"}
        assert (stages["student"].model == "teacher") == ("TP" in parts)
        assert (stages["student"].learning_rate.schedule == "rewinding") == ("LRR" in parts)
        assert (stages["student"].distillation is not None) == ("KD" in parts)
        assert (stages["transfer"].distillation is not None) == ("transfer KD" in parts)
        assert ("teacher" in stages) == ("TP" in parts)


def test_teachers_are_trained_as_in_tables_20_and_21_of_oberta() -> None:
    # Epochs and learning rate, by hand.
    base = {"squad": (3, 1e-5), "squad-v2": (3, 3e-5), "qqp": (5, 2e-5), "mnli": (3, 1e-5), "sst2": (3, 2e-5)}
    large = dict.fromkeys(base, (3, 1e-5))
    tables = {"base": {**base, "conll2003": (3, 3e-5)}, "large": {**large, "conll2003": (3, 3e-5)}}
    for run in RUNS["oberta-distillation"]:
        size, task = run.labels["teacher"], run.labels["task"]
        if size == "none":
            assert [stage.name for stage in run.recipe.stages] == ["transfer"]
            continue
        stage = run.recipe.stage("task-teacher")
        assert run.recipe.parents["teacher"].pretrained == f"FacebookAI/roberta-{size}"
        assert (stage.epochs, stage.learning_rate.peak) == tables[size][task]


def test_embeddings_stand_still_where_the_label_says_so() -> None:
    for run in RUNS["oberta-frozen-embeddings"]:
        frozen = run.recipe.stage("transfer").frozen_embeddings is not None
        assert frozen == (run.labels["embeddings"] == "frozen")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_number_of_a_papers_study_says_where_it_comes_from(path: Path) -> None:
    """On its own line, above its block, or as the table that the paper's part names."""
    if path.stem.startswith("minilm-"):
        return
    text = path.read_text(encoding="utf-8")
    explained, unexplained = False, []
    for line in text.split("\npaper:")[0].splitlines():
        value, _, comment = line.partition("#")
        if line.lstrip().startswith("#") or (comment and value.rstrip().endswith(":")):
            explained = True
        elif NUMBER.search(value.rstrip()) and not (comment or explained or line.startswith("format:")):
            unexplained.append(line.strip())
        elif not value.strip():
            explained = False
    assert not unexplained


Run = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_a_shipped_study_runs_from_its_parents_to_its_table(tmp_path: Path, run_command: Run) -> None:
    write_task(tmp_path / "data", "bc5cdr-chem", train=24, validation=12)
    out = tmp_path / "out"
    # Every 3rd of 27: all examples; a seed's runs come before those of the next.
    options = ("--data", tmp_path / "data", "--out", out, "--shard", "1/3", "--backbone", "tiny")
    code, printed, _ = run_command("study", "minilm-data-size", *options, "--max-steps", 2, "--json")
    assert code == 0
    content = json.loads(printed)
    assert content == json.loads((out / "results.json").read_text())
    runs = [run for run in content["runs"] if run["state"] == "finished"]
    ways = ("dense", "upstream", "finetune")
    assert [run["key"] for run in runs] == [f"{way}_100_seed-{seed}" for seed in range(3) for way in ways]
    assert [run["results"][0]["steps"] for run in runs] == [2] * 9
    sparsities = [run["results"][0]["sparsity"] for run in runs]
    assert sparsities == [None, pytest.approx(0.9, abs=2e-3), pytest.approx(0.9, abs=2e-3)] * 3
    assert [run["results"][0]["zeros_changed"] for run in runs] == [0] * 9
    assert "| dense |" in (out / "results.md").read_text()
    assert (out / "results.png").exists()


@pytest.mark.slow
def test_what_is_pruned_with_its_pooler_is_transferred_to_a_head_without_one(
    tmp_path: Path, run_command: Run
) -> None:
    write_task(tmp_path / "data", "squad-v1", train=24, validation=12)
    text, out = write_texts(tmp_path / "text")[1], tmp_path / "out"
    options = ("--text", text, "--data", tmp_path / "data", "--out", out, "--backbone", "tiny")
    code, _, _ = run_command("study", "prune-ofa-ablation", *options, "--shard", "1/28", "--max-steps", 2)
    run = json.loads((out / "results.json").read_text())["runs"][0]
    assert (code, run["key"], run["state"], run["metric"]) == (0, "nothing_squad_seed-0", "finished", "f1")
    assert run["results"][0]["sparsity"] == pytest.approx(0.85, abs=2e-3)
    assert run["results"][0]["zeros_changed"] == 0


def test_without_a_name_the_studies_are_listed(run_command: Run) -> None:
    code, printed, _ = run_command("study", "--json")
    assert (code, list(json.loads(printed))) == (0, sorted(RUNS))
    assert "Sparse*BERT, table 4" in run_command("study")[1]


def test_what_cannot_be_run_is_one_line(run_command: Run) -> None:
    code, _, error = run_command("study", "minilm-transfr")
    assert code == 1
    assert "unknown study 'minilm-transfr'" in error
    assert "did you mean 'minilm-transfer'?" in " ".join(error.split())
    code, _, error = run_command("study", "minilm-transfer", "--shard", "two")
    assert (code, "must be I/N" in error) == (1, True)
