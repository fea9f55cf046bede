"""A study of seconds: two ways on two tasks with two seeds, and what it needs on the disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_case import TINY_BERT
from task_case import write_task

from sparsezoo_hub.training.stage_data import EVERY
from sparsezoo_hub.training.studies.library import load_study
from sparsezoo_hub.training.studies.matrix import StudyRun, study_runs
from sparsezoo_hub.training.studies.options import StudyOptions
from sparsezoo_hub.training.studies.run_record import Machine
from sparsezoo_hub.training.studies.runner import Outcome, run_study

RECIPE = f"""
format: 1
name: small
summary: A tiny BERT on a task, with a teacher.
{TINY_BERT}"""
RECIPE += """
stages:
  - {name: unused, model: backbone, objective: {kind: sequence_classification}, data: sst2, max_length: 16,
     steps: 1, batch_size: 8, learning_rate: {peak: 1.0e-3}}
  - {name: task-teacher, model: backbone, objective: {kind: sequence_classification}, data: sst2,
     max_length: 16, steps: 4, batch_size: 8, learning_rate: {peak: 1.0e-3}, seeds: [3, 4]}
  - {name: transfer, model: backbone, teacher: task-teacher, distillation: {hardness: 0.5, temperature: 2.0},
     objective: {kind: sequence_classification}, data: sst2, max_length: 16,
     steps: 6, batch_size: 8, learning_rate: {peak: 5.0e-3}}
variants:
  sst2: {}
  bc2gm:
    stages:
      - {name: task-teacher, objective: {kind: token_classification}, data: bc2gm}
      - {name: transfer, objective: {kind: token_classification}, data: bc2gm}
package: transfer
"""

STUDY = """
format: 1
name: small-study
summary: Dense and pruned.
axes:
  way:
    dense: {recipe: "small.yaml:{task}"}
    pruned:
      recipe: "small.yaml:{task}"
      set:
        stages.transfer.pruning: {final_sparsity: 0.5, start: 0, end: 4, interval: 1}
  task: [sst2, bc2gm]
  seed: [0, 1]
rows: [way]
columns: [task]
"""
# Four runs, of one task.
SHORT = STUDY.replace("[sst2, bc2gm]", "[sst2]")
KEYS = ["dense_sst2_seed-0", "pruned_sst2_seed-0", "dense_sst2_seed-1", "pruned_sst2_seed-1"]
MACHINE = Machine(hardware="a machine", versions={"python": "3"})


@dataclass(frozen=True)
class StudyFolder:
    """A study's file with its recipe beside it, and the data that its runs take."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write(self, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "small.yaml").write_text(RECIPE)
        self.path.write_text(text)

    def runs(self) -> list[StudyRun]:
        return study_runs(load_study(str(self.path)))

    def run(self, out: Path, **options: Any) -> list[Outcome]:
        given = StudyOptions(data={EVERY: self.data}, **options)
        return [*run_study(load_study(str(self.path)), out, given, MACHINE)]


def write_study(folder: Path, text: str = SHORT) -> StudyFolder:
    """Write a study and the data of its tasks."""
    study = StudyFolder(folder)
    study.write(text)
    for task in ("sst2", "bc2gm"):
        write_task(study.data, task, train=32, validation=12)
    return study
