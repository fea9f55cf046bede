"""The steps that need a fresh process: its environment points the stock client at the local Hub.

``python -m sparsezoo_hub.cli.quickstart.child STEP OUT`` writes its result to ``OUT/children/STEP.json``.
"""

import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification

import sparsezoo_hub
from sparsezoo_hub.cli.console import quiet_loading
from sparsezoo_hub.cli.progress_display import ProgressDisplay
from sparsezoo_hub.cli.quickstart.options import REPO_ID, Options, open_run
from sparsezoo_hub.core.masks import mask_digest, sparsity_of
from sparsezoo_hub.errors import LockError
from sparsezoo_hub.training.stage_result import StageResult
from sparsezoo_hub.training.tasks import find_task

WAYS = {"dense": "dense", "upstream_pruned": "upstream-pruned", "finetune_pruned": "finetune-pruned"}


def load_locked(options: Options) -> dict[str, Any]:
    """Load the published model as any user would, and look whether it is locked."""
    del options
    model = AutoModelForSequenceClassification.from_pretrained(REPO_ID)
    masks = sparsezoo_hub.PatternLock.masks(model)
    if not masks:
        raise LockError(f"{REPO_ID} was loaded without a lock")
    return {
        "locked_weights": len(masks),
        "sparsity": sparsity_of(masks),
        "mask_digest": mask_digest(masks),
    }


def transfer(options: Options) -> dict[str, Any]:
    """Fine-tune dense, upstream-pruned and pruned-while-fine-tuning, from the Hub's model."""
    with ProgressDisplay() as display:
        run = open_run(options, display)
        teacher = run.run_stage("task-teacher")
        results = {
            way: run.run_stage(stage, models={run.recipe.package: REPO_ID}) for way, stage in WAYS.items()
        }
    task = find_task(run.recipe.stage("dense").data)
    validation = task.load().validation
    most_frequent = Counter(each.label for each in validation).most_common(1)[0][1]
    return {
        "task": task.name,
        "task_teacher_accuracy": teacher[0].validation_accuracy,
        "majority_share": most_frequent / len(validation),
        "num_validation": teacher[0].num_predictions,
        "zeros_changed": sum(each.zeros_changed for each in results["upstream_pruned"]),
        "zeros_checked": sum(each.num_locked for each in results["upstream_pruned"]),
        "transfer": {way: _summary(each) for way, each in results.items()},
    }


def _summary(results: list[StageResult]) -> dict[str, Any]:
    accuracies = [result.validation_accuracy for result in results]
    return {
        "mean": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies),
        "seeds": [result.seed for result in results],
        "accuracies": accuracies,
        "sparsity": results[0].sparsity or 0.0,
    }


STEPS: Mapping[str, Callable[[Options], dict[str, Any]]] = {"load": load_locked, "transfer": transfer}

if __name__ == "__main__":
    quiet_loading()
    step, out = sys.argv[1], Path(sys.argv[2])
    try:
        content = STEPS[step](Options.read(out))
    except sparsezoo_hub.errors.SparseZooError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    result = out / "children" / f"{step}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(content))
