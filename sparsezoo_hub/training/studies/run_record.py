"""Run records: what a finished run of a study came to, one file each."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.stage_result import StageResult
from sparsezoo_hub.training.studies.matrix import StudyRun

# The metric of a stage that learns from text (nats, lower is better).
LOSS = "validation_loss"


class Machine(BaseModel):
    """What a run is made on: the hardware in words, versions by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hardware: str
    versions: dict[str, str]


class RunRecord(BaseModel):
    """What a finished run came to.

    ``digest`` is of the recipe and the options that it was made with. ``values`` are those of ``metric``, one
    per seed of the packaged stage, as are ``results``: that stage's settings, seconds and all metrics.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    digest: str
    labels: dict[str, str]
    recipe: str
    parents: dict[str, str]
    max_steps: int | None
    bf16: bool
    metric: str
    values: tuple[float, ...]
    results: tuple[StageResult, ...]
    machine: Machine


def run_digest(run: StudyRun, parents: Mapping[str, str], options: RunOptions) -> str:
    """Return a digest of what a study and its options say about a run."""
    content = {
        "recipe": run.recipe.model_dump(mode="json"),
        "parents": dict(parents),
        "limits": [options.max_steps, options.bf16],
        "metric": run.metric,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def record_of(
    study_run: StudyRun,
    digest: str,
    run: RecipeRun,
    results: list[StageResult],
    metric: str,
    machine: Machine,
) -> RunRecord:
    """Return the record of a run that is finished; ``metric`` is one of its results'."""
    return RunRecord(
        key=study_run.key,
        digest=digest,
        labels=dict(study_run.labels),
        recipe=study_run.reference,
        parents=dict(run.overrides),
        max_steps=run.options.max_steps,
        bf16=run.options.bf16,
        metric=metric,
        values=tuple(each.validation_loss if metric == LOSS else each.metrics[metric] for each in results),
        results=tuple(results),
        machine=machine,
    )


def record_path(folder: Path, key: str) -> Path:
    """Return where a run's record lies."""
    return folder / f"{key}.json"


def error_path(folder: Path, key: str) -> Path:
    """Return where it says why a run failed."""
    return folder / f"{key}.error"


def read_record(folder: Path, key: str, digest: str) -> RunRecord | None:
    """Return a run's record, None if it is not finished, or was made with other settings or options."""
    path = record_path(folder, key)
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return RunRecord.model_validate(content) if content.get("digest") == digest else None


def read_error(folder: Path, key: str) -> str | None:
    """Return why a run failed the last time, None if it did not."""
    path = error_path(folder, key)
    return path.read_text(encoding="utf-8") if path.exists() else None
