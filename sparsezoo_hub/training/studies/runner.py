"""The runner of a study: what is missing is run, and the table written after every run."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.errors import RecipeError, SparseZooError, write_errors
from sparsezoo_hub.training.progress import Watcher
from sparsezoo_hub.training.run import RecipeRun, ignore_progress
from sparsezoo_hub.training.stage_result import StageResult
from sparsezoo_hub.training.studies.file_lock import file_lock
from sparsezoo_hub.training.studies.library import StudyFile
from sparsezoo_hub.training.studies.matrix import StudyRun, study_runs
from sparsezoo_hub.training.studies.options import StudyOptions, check_made
from sparsezoo_hub.training.studies.results import write_results
from sparsezoo_hub.training.studies.run_record import (
    LOSS,
    Machine,
    RunRecord,
    error_path,
    read_record,
    record_of,
    record_path,
    run_digest,
)
from sparsezoo_hub.training.studies.shared_stages import run_stages
from sparsezoo_hub.training.whole_text import write_text

RUNS, SHARED = "runs", "shared"

State = Literal["finished", "found", "failed", "elsewhere"]


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Args:
        index: of the run among those of this process, from 1.
        count: of those.
        run: of the study.
        state: ``finished`` now, ``found`` finished, ``failed``, or ``elsewhere``: another process is at it.
        record: of a run that is finished.
        error: of one that failed.
    """

    index: int
    count: int
    run: StudyRun
    state: State
    record: RunRecord | None = None
    error: str | None = None


def run_study(
    file: StudyFile,
    out: Path,
    options: StudyOptions,
    machine: Machine,
    *,
    part: Callable[[list[StudyRun]], Sequence[StudyRun]] = list,
    watcher: Watcher = ignore_progress,
    tell: Callable[[str], None] = lambda message: None,
) -> Iterator[Outcome]:
    """Run what is missing, and yield what becomes of each run.

    Under ``out``, a run has a folder, a record when it is finished and a lock, so that several processes may
    work at once; what several runs need is made once (``shared_stages``). A run that fails does not stop the
    others.

    Args:
        file: the study.
        out: where its results are.
        options: of all runs.
        machine: that they are made on.
        part: chooses the runs of this process.
        watcher: is told how a stage progresses.
        tell: is told what this process waits for.

    Raises:
        PackageError: if the results cannot be written.
        RecipeError: if the study has problems, or an option names what none of its runs has.
    """
    runs = study_runs(file)
    options.check(runs)
    with write_errors(out):
        (out / RUNS).mkdir(parents=True, exist_ok=True)
    chosen = part(runs)
    for index, run in enumerate(chosen, start=1):
        state, came_to = _come_to(run, out, options, machine, watcher, tell)
        if state in ("finished", "failed"):
            _write(file, runs, out, options)
        if isinstance(came_to, str):
            yield Outcome(index, len(chosen), run, state, error=came_to)
        else:
            yield Outcome(index, len(chosen), run, state, record=came_to)
    _write(file, runs, out, options)


def _write(file: StudyFile, runs: list[StudyRun], out: Path, options: StudyOptions) -> None:
    digests = {run.key: _digest(run, options) for run in runs}
    with write_errors(out), file_lock(out / "results.lock", wait=True):
        write_results(file.study, runs, digests, out, out / RUNS)


def _digest(run: StudyRun, options: StudyOptions) -> str:
    return run_digest(run, options.of_parents(run), options.of_run(run))


def _come_to(
    run: StudyRun,
    out: Path,
    options: StudyOptions,
    machine: Machine,
    watcher: Watcher,
    tell: Callable[[str], None],
) -> tuple[State, RunRecord | str | None]:
    """Return what becomes of a run: its record, or its error."""
    folder, digest = out / RUNS, _digest(run, options)
    with file_lock(folder / f"{run.key}.lock", wait=False) as free:
        if not free:
            return "elsewhere", None
        try:
            parents = options.of_parents(run)
            check_made(run, parents)
            recipe_run = RecipeRun(  # refuses the folder of a run of other settings or data
                run.recipe,
                folder / run.key,
                text=options.of_text(run.recipe),
                data=options.of_data(run.recipe),
                parents=parents,
                options=options.of_run(run),
                watcher=watcher,
            )
            found = read_record(folder, run.key, digest)
            if found is not None:
                return "found", found
            error_path(folder, run.key).unlink(missing_ok=True)
            results = run_stages(recipe_run, out / SHARED, tell)
            record = record_of(run, digest, recipe_run, results, _metric(run, recipe_run, results), machine)
            with write_errors(folder):
                write_text(record_path(folder, run.key), record.model_dump_json(indent=2))
        except Exception as error:  # whatever it is, the other runs go on
            message = _message(error)
            if read_record(folder, run.key, digest) is None:
                write_text(error_path(folder, run.key), message)
            return "failed", message
    return "finished", record


def _message(error: Exception) -> str:
    if isinstance(error, SparseZooError):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} ({Path(where.filename).name}, line {where.lineno})"


def _metric(run: StudyRun, recipe_run: RecipeRun, results: list[StageResult]) -> str:
    """Return the metric that is tabulated."""
    stage = recipe_run.recipe.stage(recipe_run.recipe.package)
    known = {LOSS, *results[0].metrics}
    if run.metric is not None:
        try:
            return check_choice(run.metric, known, "metric")
        except ValueError as error:
            raise RecipeError(f"{run.key}: {error}") from None
    return LOSS if stage.is_language_modelling else results[0].metric
