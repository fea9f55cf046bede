"""The results of a study: as JSON, as a Markdown table and as a picture."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsezoo_hub.core.study import Study
from sparsezoo_hub.training.studies.matrix import StudyRun
from sparsezoo_hub.training.studies.plot import draw_table
from sparsezoo_hub.training.studies.run_record import LOSS, RunRecord, read_error, read_record
from sparsezoo_hub.training.studies.table import Cell, Table, study_table
from sparsezoo_hub.training.whole_text import write_text

JSON, MARKDOWN, PLOT = "results.json", "results.md", "results.png"

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$<>])")


@dataclass(frozen=True)
class _Results:
    """A study with its runs, the records of those that are finished, the errors of the others, by key."""

    study: Study
    runs: Sequence[StudyRun]
    records: Mapping[str, RunRecord]
    failed: Mapping[str, str]
    table: Table


def write_results(
    study: Study, runs: Sequence[StudyRun], digests: Mapping[str, str], out: Path, records_folder: Path
) -> None:
    """Write ``results.json``, ``results.md`` and ``results.png``, each aside and then moved into place.

    Args:
        study: whose table it is.
        runs: all of them, whoever ran them.
        digests: by the run's key; a record of another digest is not this study's.
        out: where to write.
        records_folder: of the runs that are finished.
    """
    found = {run.key: read_record(records_folder, run.key, digests[run.key]) for run in runs}
    records = {key: record for key, record in found.items() if record is not None}
    errors = {run.key: read_error(records_folder, run.key) for run in runs if run.key not in records}
    failed = {key: error for key, error in errors.items() if error is not None}
    table = study_table(study, runs, records, list(failed))
    results = _Results(study, runs, records, failed, table)
    write_text(out / JSON, _json(results))
    write_text(out / MARKDOWN, _markdown(results))
    if records:
        partial = out / f"{PLOT}.partial"
        draw_table(partial, study, table)
        partial.replace(out / PLOT)


def _markdown(results: _Results) -> str:
    """Return the table as Markdown, with what is missing, what failed and what it was made on."""
    study, records, failed, table = results.study, results.records, results.failed, results.table
    lines = [f"# {_text(study.name)}", "", _text(study.summary), ""]
    lines += _grid(study, table)
    lines += ["", f"Mean ± standard deviation (number of seeds) on the validation set{_metrics(table)}."]
    if study.paper is not None:
        note = f"In brackets: the paper's numbers ({_text(study.paper.table)}). {_text(study.paper.note)}"
        lines += ["", note.rstrip()]
    count = len(results.runs)
    lines += [
        "",
        f"{len(records)} of {count} runs are finished, {count - len(records)} missing, {len(failed)} of them "
        "failed.",
    ]
    lines += [f"- {_text(key)} failed: {_text(' '.join(error.split()))}" for key, error in failed.items()]
    lines += ["", *_made_on(records.values())] if records else []
    return "\n".join(lines) + "\n"


def _grid(study: Study, table: Table) -> list[str]:
    head = [_text(" x ".join(study.rows)), *(_text(", ".join(column)) for column in table.columns)]
    rows = [
        [_text(", ".join(row)), *(cell_text(table.cell(row, column)) for column in table.columns)]
        for row in table.rows
    ]
    rule = ["---", *("---:" for _ in table.columns)]
    return [f"| {' | '.join(each)} |" for each in (head, rule, *rows)]


def _metrics(table: Table) -> str:
    """Return which metric is in which columns."""
    columns: dict[str, list[str]] = {}
    for column in table.columns:
        cells = (table.cell(row, column) for row in table.rows)
        for metric in sorted({cell.metric for cell in cells if cell is not None and cell.metric is not None}):
            columns.setdefault(metric, []).append(", ".join(column))
    shown = [
        f"{metric.replace('_', ' ')} {'in nats' if metric == LOSS else 'times 100'} ({'; '.join(each)})"
        for metric, each in columns.items()
    ]
    return _text(f": {', '.join(shown)}") if shown else ""


def cell_text(cell: Cell | None) -> str:
    """Return what a cell shows: ``84.10 ± 0.30 (3) [85.20]``, or that it is missing."""
    if cell is None:
        return "-"
    paper = "" if cell.paper is None else f" [{cell.paper:.2f}]"
    unfinished = f"{cell.num_missing} missing" + (f", {cell.num_failed} failed" if cell.num_failed else "")
    if cell.mean is None:
        return ("failed" if cell.num_failed else "missing") + paper
    shown = f"{cell.mean * cell.scale:.2f}"
    if cell.std is not None:
        shown += f" ± {cell.std * cell.scale:.2f}"
    if cell.group:
        return shown + paper
    return f"{shown} ({len(cell.values)}{f', {unfinished}' if cell.num_missing else ''}){paper}"


def _made_on(records: Any) -> list[str]:
    """Return on what, and how long, runs were trained: a line for each kind of machine."""
    seconds: dict[str, list[float]] = {}
    for record in records:
        versions = ", ".join(f"{name} {version}" for name, version in record.machine.versions.items())
        spent = sum(result.seconds for result in record.results)
        seconds.setdefault(f"{record.machine.hardware}; {versions}", []).append(spent)
    return [
        f"{len(each)} runs, {sum(each):.0f} s in their measured stages: {_text(where)}"
        for where, each in sorted(seconds.items())
    ]


def _json(results: _Results) -> str:
    study, records = results.study, results.records
    cells = [
        {
            "row": dict(zip(study.rows, row, strict=True)),
            "column": {"group": column[0]}
            if column[0] in study.groups
            else dict(zip(study.columns, column, strict=True)),
            "metric": cell.metric,
            "mean": cell.mean,
            "std": cell.std,
            "num_seeds": len(cell.values),
            "num_missing": cell.num_missing,
            "num_failed": cell.num_failed,
            "paper_times_100": cell.paper,
        }
        for (row, column), cell in results.table.cells.items()
    ]
    content = {
        "format": 1,
        "study": study.model_dump(mode="json", exclude_defaults=True),
        "num_runs": len(results.runs),
        "num_finished": len(records),
        "cells": cells,
        "runs": [_run_json(run, records.get(run.key), results.failed.get(run.key)) for run in results.runs],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _run_json(run: StudyRun, record: RunRecord | None, error: str | None) -> dict[str, Any]:
    if record is not None:
        return {"state": "finished", **record.model_dump(mode="json")}
    content = {"state": "missing", "key": run.key, "labels": dict(run.labels), "recipe": run.reference}
    return content if error is None else {**content, "state": "failed", "error": error}


def _text(value: str) -> str:
    """Return text as Markdown that shows it."""
    return _SPECIAL.sub(r"\\\1", value)
