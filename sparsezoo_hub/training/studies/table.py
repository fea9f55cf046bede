"""The table of a study: mean and standard deviation of every cell, and what is missing."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from sparsezoo_hub.core.study import Study
from sparsezoo_hub.training.studies.matrix import StudyRun
from sparsezoo_hub.training.studies.run_record import LOSS, RunRecord

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Args:
        values: one per seed, as measured: metrics in [0, 1], losses in nats.
        num_missing: runs that are not finished.
        num_failed: how many of those have failed.
        paper: the paper's number, times 100; None without one.
        metric: of the values, None without one; of a group, all of its members'.
        group: for the mean of other cells: their means; then there are no values.
    """

    values: tuple[float, ...] = ()
    num_missing: int = 0
    num_failed: int = 0
    paper: float | None = None
    metric: str | None = None
    group: tuple[float, ...] = ()

    @property
    def scale(self) -> float:
        """What values are multiplied with, to be shown as papers show them."""
        return 1.0 if self.metric == LOSS else 100.0

    @property
    def mean(self) -> float | None:
        """The mean over the seeds, or over the group."""
        values = self.values or self.group
        return statistics.fmean(values) if values else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation over the seeds; None for one seed, and for a group."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Table:
    """Cells by the labels of their row and column; a combination that the study leaves out has none."""

    rows: tuple[Labels, ...]
    columns: tuple[Labels, ...]
    cells: Mapping[tuple[Labels, Labels], Cell] = field(default_factory=dict)

    def cell(self, row: Labels, column: Labels) -> Cell | None:
        """Return a cell."""
        return self.cells.get((row, column))


def study_table(
    study: Study, runs: Sequence[StudyRun], records: Mapping[str, RunRecord], failed: Sequence[str] = ()
) -> Table:
    """Return the table of a study.

    Args:
        study: says what is a row and what a column.
        runs: all of them.
        records: of those that are finished, by key.
        failed: the keys of those that failed.
    """
    by_place: dict[tuple[Labels, Labels], list[StudyRun]] = {}
    for run in runs:
        row = tuple(run.labels[axis] for axis in study.rows)
        column = tuple(run.labels[axis] for axis in study.columns)
        by_place.setdefault((row, column), []).append(run)
    cells = {
        place: Cell(
            values=tuple(value for run in each if run.key in records for value in records[run.key].values),
            num_missing=sum(run.key not in records for run in each),
            num_failed=sum(run.key in failed for run in each),
            paper=_paper(study, place),
            metric=next((records[run.key].metric for run in each if run.key in records), None),
        )
        for place, each in by_place.items()
    }
    rows = [row for row in _labels(study, study.rows) if any(place[0] == row for place in cells)]
    columns = [
        column for column in _labels(study, study.columns) if any(place[1] == column for place in cells)
    ]
    for name, members in study.groups.items():
        columns.append((name,))
        for row in rows:
            of_members = [cells.get((row, (member,)), Cell(num_missing=1)) for member in members]
            cells[row, (name,)] = _group(of_members, _paper(study, (row, (name,))))
    return Table(tuple(rows), tuple(columns), cells)


def _group(members: Sequence[Cell], paper: float | None) -> Cell:
    means = tuple(each.mean for each in members if each.mean is not None)
    missing = sum(each.num_missing for each in members)
    metrics = dict.fromkeys(each.metric for each in members if each.metric is not None)
    return Cell(
        num_missing=missing,
        num_failed=sum(each.num_failed for each in members),
        paper=paper,
        metric=" and ".join(metrics) or None,
        group=() if missing else means,
    )


def _labels(study: Study, axes: Sequence[str]) -> list[Labels]:
    return list(product(*(study.labels(axis) for axis in axes)))


def _paper(study: Study, place: tuple[Labels, Labels]) -> float | None:
    values: Any = {} if study.paper is None else study.paper.values
    for label in (*place[0], *place[1]):
        values = values.get(label, {}) if isinstance(values, Mapping) else {}
    return float(values) if isinstance(values, int | float) else None
