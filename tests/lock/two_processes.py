"""Two processes on a CPU."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from forked_processes import ended, forked, ranks, words

Findings = list[dict[str, dict[str, Any]]]


def launched(found_by: Callable[..., dict[str, Any]], folder: Path, *arguments: object) -> Findings:
    """What a function of a module of this folder returns in each process, given the arguments."""
    said = [folder / f"{rank}.said" for rank in range(2)]
    processes = [
        forked(path, _find, found_by, folder / f"{rank}.json", arguments, environment=place)
        for rank, (path, place) in enumerate(zip(said, ranks(2), strict=True))
    ]
    assert ended(processes, 240) == [0, 0], [words(each)[-4000:] for each in said]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def _find(found_by: Callable[..., dict[str, Any]], path: Path, arguments: tuple[object, ...]) -> None:
    dist.init_process_group("gloo")
    path.write_text(json.dumps(found_by(*arguments)))
    dist.barrier()
    dist.destroy_process_group()
