"""The table of a study, by hand."""

import json
from pathlib import Path

import pytest
from study_case import MACHINE, STUDY, StudyFolder

from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.training.stage_result import StageResult
from sparsezoo_hub.training.studies.library import load_study
from sparsezoo_hub.training.studies.plot import column_numbers
from sparsezoo_hub.training.studies.results import write_results
from sparsezoo_hub.training.studies.run_record import RunRecord, error_path, record_path

TABLE = (
    STUDY
    + """
groups: {Both: [sst2, bc2gm]}
paper:
  table: "A paper, table 9"
  note: Its model is a hundred times larger.
  values: {dense: {sst2: 93.5, Both: 90}, pruned: {bc2gm: 71.25}}
"""
)
STAGE = Stage.model_validate(
    {
        "name": "transfer", "model": "backbone", "objective": {"kind": "sequence_classification"},
        "data": "sst2", "max_length": 16, "steps": 6, "batch_size": 8, "learning_rate": {"peak": 0.1},
    }
)  # fmt: skip


def result_of(seed: int, seconds: float = 2.5) -> StageResult:
    return StageResult(
        stage="transfer", settings=STAGE, seed=seed, steps=6, seconds=seconds, validation_loss=0.7,
        validation_accuracy=0.5, num_predictions=12, metric="accuracy", score=0.5, sparsity=None,
        num_locked=0, zeros_changed=0,
    )  # fmt: skip


def write_table(
    folder: Path, values: dict[str, float], *, failed: dict[str, str] | None = None, text: str = TABLE
) -> Path:
    """Write the results of a study whose finished runs have these values."""
    study = StudyFolder(folder)
    study.write(text)
    runs = study.runs()
    for run in runs:
        if run.key in values:
            record = RunRecord(
                key=run.key, digest="digest", labels=dict(run.labels), recipe=run.reference, parents={},
                max_steps=None, bf16=False, metric="accuracy", values=(values[run.key],),
                results=(result_of(int(run.labels["seed"])),), machine=MACHINE,
            )  # fmt: skip
            record_path(folder, run.key).write_text(record.model_dump_json())
    for key, error in (failed or {}).items():
        error_path(folder, key).write_text(error)
    digests = {run.key: "digest" for run in runs}
    write_results(load_study(str(study.path)).study, runs, digests, folder, folder)
    return folder


def rows(folder: Path) -> list[list[str]]:
    lines = (folder / "results.md").read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


ALL = {
    "dense_sst2_seed-0": 0.90,
    "dense_sst2_seed-1": 0.94,
    "dense_bc2gm_seed-0": 0.8,
    "dense_bc2gm_seed-1": 0.8,
    "pruned_sst2_seed-0": 0.5,
    "pruned_sst2_seed-1": 0.6,
    "pruned_bc2gm_seed-0": 0.7,
    "pruned_bc2gm_seed-1": 0.72,
}


def test_a_cell_has_mean_sample_deviation_number_of_seeds_and_the_papers_number(tmp_path: Path) -> None:
    # Two values a and b have the mean (a + b) / 2 and the sample deviation |a - b| / sqrt(2).
    assert rows(write_table(tmp_path, ALL)) == [
        ["way", "sst2", "bc2gm", "Both"],
        ["---", "---:", "---:", "---:"],
        ["dense", "92.00 ± 2.83 (2) [93.50]", "80.00 ± 0.00 (2)", "86.00 [90.00]"],
        ["pruned", "55.00 ± 7.07 (2)", "71.00 ± 1.41 (2) [71.25]", "63.00"],
    ]
    text = (tmp_path / "results.md").read_text()
    assert "A paper, table 9" in text
    assert "Its model is a hundred times larger." in text
    assert "8 of 8 runs are finished, 0 missing, 0 of them failed." in text
    assert "8 runs, 20 s in their measured stages: a machine; python 3" in text


def test_what_is_missing_or_failed_is_shown_as_such(tmp_path: Path) -> None:
    values = {
        key: value for key, value in ALL.items() if key.startswith("dense_sst2") or key.endswith("gm_seed-0")
    }
    failed = {"dense_bc2gm_seed-1": "out of *memory*", "pruned_sst2_seed-0": "a\nb"}
    assert rows(write_table(tmp_path, values, failed=failed))[2:] == [
        ["dense", "92.00 ± 2.83 (2) [93.50]", "80.00 (1, 1 missing, 1 failed)", "failed [90.00]"],
        ["pruned", "failed", "70.00 (1, 1 missing) [71.25]", "failed"],
    ]
    text = (tmp_path / "results.md").read_text()
    assert "4 of 8 runs are finished, 4 missing, 2 of them failed." in text
    assert r"- dense\_bc2gm\_seed-1 failed: out of \*memory\*" in text
    assert r"- pruned\_sst2\_seed-0 failed: a b" in text


def test_a_study_of_which_nothing_is_finished_has_a_table_of_what_is_missing(tmp_path: Path) -> None:
    assert rows(write_table(tmp_path, {}))[2:] == [
        ["dense", "missing [93.50]", "missing", "missing [90.00]"],
        ["pruned", "missing", "missing [71.25]", "missing"],
    ]
    assert not (tmp_path / "results.png").exists()


def test_a_combination_that_the_study_leaves_out_is_not_missing(tmp_path: Path) -> None:
    text = STUDY + "cases: [{where: {way: pruned, task: bc2gm}, skip: true}]\n"
    folder = write_table(tmp_path, ALL, text=text)
    assert [row[2] for row in rows(folder)[2:]] == ["80.00 ± 0.00 (2)", "-"]
    assert "6 of 6 runs are finished" in (folder / "results.md").read_text()


def test_the_json_has_every_run_and_every_cell(tmp_path: Path) -> None:
    values = {key: value for key, value in ALL.items() if key != "pruned_bc2gm_seed-1"}
    content = json.loads((write_table(tmp_path, values) / "results.json").read_text())
    assert (content["num_runs"], content["num_finished"], content["study"]["name"]) == (8, 7, "small-study")
    first, last = content["runs"][0], content["runs"][-1]
    assert (first["state"], first["key"], first["values"]) == ("finished", "dense_sst2_seed-0", [0.9])
    assert first["results"][0]["settings"]["learning_rate"]["peak"] == 0.1
    assert (first["results"][0]["steps"], first["results"][0]["seconds"]) == (6, 2.5)
    assert first["machine"] == {"hardware": "a machine", "versions": {"python": "3"}}
    assert (last["state"], last["labels"]) == ("missing", {"way": "pruned", "task": "bc2gm", "seed": "1"})
    cell, group = (
        each for each in content["cells"] if each["row"] == {"way": "pruned"} and each["num_missing"]
    )
    assert (cell["column"], cell["mean"], cell["std"], cell["num_seeds"]) == ({"task": "bc2gm"}, 0.7, None, 1)
    assert (group["column"], group["mean"]) == ({"group": "Both"}, None)
    assert cell["paper_times_100"] == 71.25


def test_the_picture_is_the_same_for_the_same_numbers_and_shows_lines_over_shares(tmp_path: Path) -> None:
    first = write_table(tmp_path / "a", ALL) / "results.png"
    second = write_table(tmp_path / "b", ALL) / "results.png"
    other = write_table(tmp_path / "c", {**ALL, "dense_sst2_seed-0": 0.1}) / "results.png"
    assert first.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    assert column_numbers([("100%",), ("2.5%",)]) == [100, 2.5]
    assert column_numbers([("sst2",), ("1%",)]) is None
    text = STUDY.replace("task: [sst2, bc2gm]", "task: {10%: {}, 5%: {}}").replace(":{task}", ":sst2")
    share = {"dense_10_seed-0": 0.5, "pruned_5_seed-1": 0.6}
    assert (write_table(tmp_path / "d", share, text=text) / "results.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("paper", "problem"),
    [
        ("values: {dense: {sst3: 1}}", "line 19: $.paper.values.dense.sst3: unknown label 'sst3'"),
        ("values: {dens: {}}", "line 19: $.paper.values.dens: unknown label 'dens'"),
        ("values: {dense: {sst2: high}}", "line 19: $.paper.values.dense.sst2: must be a number, got 'high'"),
        (
            "values: {dense: 3}",
            "line 19: $.paper.values.dense: must be a mapping by label (sst2, bc2gm), got 3",
        ),
    ],
)
def test_a_papers_number_that_has_no_place_is_reported(tmp_path: Path, paper: str, problem: str) -> None:
    study = StudyFolder(tmp_path)
    study.write(STUDY + "paper:\n  table: t\n  note: n\n" + f"  {paper}\n")
    with pytest.raises(ValueError, match="1 problem") as refused:
        load_study(str(study.path))
    assert problem in str(refused.value)
