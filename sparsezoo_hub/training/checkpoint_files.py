"""Checkpoint files: a checkpoint is written aside, listed with its digests, moved into place, or ignored."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sparsezoo_hub.errors import PackageError, write_errors
from sparsezoo_hub.training.durable import move_into_place

MANIFEST = "checkpoint.json"
# What the Trainer writes into; a checkpoint leaves it when it is complete.
UNFINISHED = "unfinished"
KEPT = 2


def step_of(checkpoint: Path | None) -> int:
    """Return how many optimizer steps had been done; 0 without a checkpoint."""
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])


def checkpoints_in(scratch: Path) -> list[Path]:
    """Return the checkpoints of a stage, whole or not, the oldest first."""
    named = [path for path in scratch.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(named, key=step_of)


def complete(unfinished: Path, facts: Mapping[str, Any]) -> Path:
    """List the files of a checkpoint with their digests, move it into place and return where it is.

    When this returns, the disk has it. A checkpoint of the same step that lies there is replaced.

    Args:
        unfinished: ``SCRATCH/unfinished/checkpoint-STEP``, with all that belongs to it.
        facts: what it was written by: see ``changes``.

    Raises:
        OSError: if the disk refuses.
    """
    listed = {"facts": dict(facts), "files": _entries(unfinished)}
    text = json.dumps({**listed, "sha256": _digest(listed)}, indent=1)
    (unfinished / MANIFEST).write_text(text, encoding="utf-8")
    folder = unfinished.parent.parent / unfinished.name
    shutil.rmtree(folder, ignore_errors=True)  # a damaged one: its step was done again
    move_into_place(unfinished, folder)
    shutil.rmtree(unfinished.parent, ignore_errors=True)
    return folder


def fault(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, None if it is as it was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = {"facts": manifest["facts"], "files": manifest["files"]}
        if manifest["sha256"] != _digest(listed):
            return f"{MANIFEST} is not what was written"
        sizes = {name: (folder / name).stat().st_size for name in listed["files"]}
        for name, entry in listed["files"].items():  # first what costs nothing
            if sizes[name] != entry["size"]:
                return f"{name} has {sizes[name]} bytes, not {entry['size']}"
        found = _entries(folder)
    except FileNotFoundError as error:
        return f"{Path(error.filename).relative_to(folder)} is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} is not what was written"
    changed = sorted(name for name, entry in listed["files"].items() if found[name] != entry)
    return f"{changed[0]} is not what was written" if changed else None


def facts_of(folder: Path) -> dict[str, Any]:
    """Return what a whole checkpoint was written by."""
    facts: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]
    return facts


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words which facts differ, empty if none does."""
    return ", ".join(
        f"{name} {then.get(name)} (now {now[name]})" for name in now if then.get(name) != now[name]
    )


def keep_newest(scratch: Path, good: list[Path]) -> None:
    """Delete all checkpoints but the last ``KEPT`` of ``good``, which is the oldest first."""
    for path in checkpoints_in(scratch):
        if path not in good[-KEPT:]:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def saving(scratch: Path, model: nn.Module | None, optimizer: Optimizer | None) -> Iterator[None]:
    """Turn a refusal of the disk inside the block into one line, and throw the half-written part away.

    Args:
        scratch: of the stage.
        model: which is saved, as is the optimizer.
        optimizer: whose state is.

    Raises:
        PackageError: names the folder, the bytes that are needed, and the checkpoint that is still there.
    """
    try:
        with write_errors(scratch):
            yield
    except PackageError as error:
        reason = str(error)
    except RuntimeError as error:
        if not _in_torch_save(error):
            raise
        reason = f"{scratch} cannot be written: look whether the disk is full, or the files too large"
    else:
        return
    needed = _bytes_needed(model, optimizer)
    free = shutil.disk_usage(next(each for each in (scratch, *scratch.parents) if each.exists())).free
    shutil.rmtree(scratch / UNFINISHED, ignore_errors=True)
    left = checkpoints_in(scratch)
    last = (
        f"{left[-1]} is still there and the same command goes on from it" if left else "none was written yet"
    )
    raise PackageError(
        f"{reason} (a checkpoint needs about {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB were free; {last})"
    )


def _in_torch_save(error: RuntimeError) -> bool:
    """Return whether it is what torch.save makes of a write that fails; its words differ."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename == torch.serialization.__file__


def _bytes_needed(model: nn.Module | None, optimizer: Optimizer | None) -> int:
    weights = [] if model is None else [*model.parameters(), *model.buffers()]
    states = [] if optimizer is None else optimizer.state.values()
    tensors = [*weights, *(each for state in states for each in state.values())]
    return sum(each.nbytes for each in tensors if isinstance(each, torch.Tensor))


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder) != Path(MANIFEST)
    )
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # hashing lets go of the GIL
        digests = list(pool.map(_sha256, paths))
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(listed: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
