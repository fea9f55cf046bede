"""The steps of the quickstart, in order."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sparsezoo_hub.cli.console import console, quiet_loading
from sparsezoo_hub.cli.progress_display import ProgressDisplay
from sparsezoo_hub.cli.quickstart.options import REPO_ID, Options, open_run
from sparsezoo_hub.cli.quickstart.step_record import StepRecord, finished_step
from sparsezoo_hub.cli.recipe_package import package_run
from sparsezoo_hub.errors import SparseZooError
from sparsezoo_hub.hub.local_hub.process import HubAddress, running_hub
from sparsezoo_hub.hub.push import push_package
from sparsezoo_hub.packaging.manifest import read_manifest
from sparsezoo_hub.training.corpora import text_digest
from sparsezoo_hub.training.run import RecipeRun

TITLES = {
    "text": "Text",
    "backbone": "Backbone",
    "teacher": "Teacher preparation (masked language modelling, dense)",
    "pruning": "Pruning to 90 % with distillation and learning-rate rewinding",
    "package": "Package: masks, ONNX, manifest, card",
    "publish": "Publish on a Hub at 127.0.0.1",
    "load": "Load locked, in a fresh process",
    "transfer": "Transfer to a task: dense, upstream-pruned, pruned while fine-tuning",
}


def run_steps(options: Options) -> list[StepRecord]:
    """Return the records of every step; a step that an earlier start finished is not done again.

    Raises:
        SparseZooError: if a step fails; the next start begins with it.
    """
    quiet_loading()
    with ExitStack() as stack:
        display = stack.enter_context(ProgressDisplay())
        quickstart = Quickstart(options, open_run(options, display), stack)
        options.write()
        works: dict[str, Callable[[], dict[str, Any]]] = {name: getattr(quickstart, name) for name in TITLES}
        return [
            _announced(options.out, number, name, works[name]) for number, name in enumerate(TITLES, start=1)
        ]


def _announced(out: Path, number: int, name: str, work: Callable[[], dict[str, Any]]) -> StepRecord:
    console.print(f"[bold]{number}/{len(TITLES)} {TITLES[name]}[/]")
    record = finished_step(out / "steps", name, work)
    console.print(f"  done in {record.seconds} s, peak memory {record.peak_memory_mb:.0f} MB")
    return record


class Quickstart:
    """One method per step; each returns what the report needs of it.

    Args:
        options: what was asked for.
        run: the run of the quickstart's recipe.
        stack: closes the Hub when the quickstart ends, however it ends.
    """

    def __init__(self, options: Options, run: RecipeRun, stack: ExitStack) -> None:
        self.options = options
        self.run = run
        self.stack = stack
        self.package_folder = options.out / "package"
        self._address: HubAddress | None = None

    def text(self) -> dict[str, Any]:
        """Read and split the text."""
        train, validation = self.run.documents
        return {
            "source": [str(path) for path in self.options.text] or "documentation installed with Python",
            "train_documents": len(train),
            "validation_documents": len(validation),
            "train_bytes": sum(len(each.text.encode()) for each in train),
            "validation_bytes": sum(len(each.text.encode()) for each in validation),
            "sha256": text_digest([*train, *validation]),
        }

    def backbone(self) -> dict[str, Any]:
        """Make or fetch the model and tokenizer to start from."""
        self.run.make_parents()
        config = json.loads((self.run.model_folder("backbone") / "config.json").read_text())
        sizes = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers")
        return {key: config[key] for key in sizes if key in config}

    def teacher(self) -> dict[str, Any]:
        """Train the dense model."""
        return self.run.run_stage("teacher")[0].model_dump()

    def pruning(self) -> dict[str, Any]:
        """Prune the student."""
        return self.run.run_stage("student")[0].model_dump()

    def package(self) -> dict[str, Any]:
        """Write the package."""
        results = {name: self.run.run_stage(name) for name in ("teacher", "student")}
        return package_run(self.run, results, self.package_folder, REPO_ID).model_dump(mode="json")

    def publish(self) -> dict[str, Any]:
        """Push the package with the unmodified Hub client."""
        hub = self._hub()
        pushed = push_package(self.package_folder, REPO_ID, endpoint=hub.url, token=hub.token)
        return {"repo_id": pushed.repo_id, "commit": pushed.commit}

    def load(self) -> dict[str, Any]:
        """Load the model from the Hub with stock transformers."""
        loaded = self._child("load")
        promised = read_manifest(self.package_folder / "manifest.json").mask_digest
        if loaded["mask_digest"] != promised:
            raise SparseZooError(
                f"{REPO_ID} came back with masks {loaded['mask_digest']}, published {promised}"
            )
        return loaded

    def transfer(self) -> dict[str, Any]:
        """Fine-tune three ways."""
        return self._child("transfer")

    def _hub(self) -> HubAddress:
        if self._address is None:
            self._address = self.stack.enter_context(running_hub(self.options.out / "hub"))
        return self._address

    def _child(self, step: str) -> dict[str, Any]:
        """Run a step in a process whose client knows no Hub but ours, with a cache of its own."""
        out = self.options.out
        environment = {
            **os.environ,
            "HF_ENDPOINT": self._hub().url,
            "HF_HUB_CACHE": str(out / "hub-cache"),
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        }
        command = [sys.executable, "-m", "sparsezoo_hub.cli.quickstart.child", step, str(out)]
        completed = subprocess.run(command, env=environment, check=False)  # noqa: S603 - our own module
        if completed.returncode:
            raise SparseZooError(f"step {step} failed with exit code {completed.returncode}; see above")
        content: dict[str, Any] = json.loads((out / "children" / f"{step}.json").read_text())
        return content
