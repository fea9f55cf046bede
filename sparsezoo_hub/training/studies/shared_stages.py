"""Shared stages: what several runs of a study need is made once, named for all that it depends on."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

from sparsezoo_hub.core.lineage import root_of
from sparsezoo_hub.core.objective_settings import MaskedLMNextSentence
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.stage_result import StageResult
from sparsezoo_hub.training.studies.file_lock import file_lock
from sparsezoo_hub.training.text_addresses import TextFile

PARENTS = "parents"


def run_stages(run: RecipeRun, shared: Path, tell: Callable[[str], None]) -> list[StageResult]:
    """Make a run's parents and train its stages; return the results of the packaged one, one per seed.

    The run's folder has a link in the place of the parents and of every other stage. Who needs one that
    another process is making waits for it.

    Args:
        run: every stage of its recipe is one that the packaged stage depends on.
        shared: the folder of what runs share.
        tell: is told what is waited for.
    """
    parents = {name: _parent_digest(run, name) for name in run.recipe.parents}
    with _linked(run.out / PARENTS, shared, f"{PARENTS}-{_digest(parents)}", tell):
        run.make_parents()
    for stage in run.recipe.stages:
        if stage.name != run.recipe.package:
            folder = run.out / "stages" / stage.name
            with _linked(folder, shared, f"{stage.name}-{_stage_digest(run, stage.name)}", tell):
                run.run_stage(stage.name)
    return run.run_stage(run.recipe.package)


def _linked(link: Path, shared: Path, name: str, tell: Callable[[str], None]) -> AbstractContextManager[bool]:
    """Link a run's folder to a shared one, and return its lock."""
    (shared / name).mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(shared / name, link.parent), target_is_directory=True)
    lock = shared / f"{name}.lock"
    with file_lock(lock, wait=False) as free:
        if not free:
            tell(f"waiting for {name}, which another process makes")
    return file_lock(lock, wait=True)


def _parent_digest(run: RecipeRun, name: str) -> str:
    parent = run.recipe.parents[name]
    first = next(iter(run.recipe.parents))
    content: dict[str, Any] = {
        "parent": parent.model_dump(mode="json"),
        "source": run.overrides.get(name),
        "next_sentence": any(isinstance(each.objective, MaskedLMNextSentence) for each in run.recipe.stages),
    }
    if parent.vocab_size is not None:  # its tokenizer is trained on the text, or is that of the first one
        content["text"] = _files(run, run.data.first_corpus())
        content["tokenizer"] = None if name == first else _parent_digest(run, first)
    return _digest(content)


def _stage_digest(run: RecipeRun, name: str) -> str:
    """Return a digest of all that the model of a stage, or a parent, depends on."""
    if name in run.recipe.parents:
        return _parent_digest(run, name)
    stage = run.recipe.stage(name)
    data = run.recipe.corpora.get(stage.data) or run.recipe.tasks.get(stage.data)
    tokenizer = run.model_folder(root_of(run.recipe, run.recipe.package))
    return _digest(
        {
            "stage": stage.model_dump(mode="json"),
            "model": _stage_digest(run, stage.model),
            "teacher": stage.teacher and _stage_digest(run, stage.teacher),
            "data": data and data.model_dump(mode="json"),
            "files": _files(run, stage.data),
            "tokenizer": [_sha256(path) for path in sorted(tokenizer.glob("tokenizer*"))],
            "limits": [run.options.max_steps, run.options.bf16],
        }
    )


def _files(run: RecipeRun, data: str | None) -> list[str]:
    """Return the digests of the files that were given for a corpus or a task."""
    texts = [] if data is None else run.data.files(data)
    return [_fingerprint(file) for file in texts] + [
        _sha256(path) for what, path in run.data.given_files() if what == f"data {data}"
    ]


@cache
def _fingerprint(file: TextFile) -> str:
    return file.fingerprint(of_content=True)


@cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
