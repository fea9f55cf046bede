"""Starts processes as torchrun would, from one that has imported everything. Not collected by pytest.

python forked_launch.py JOBS.json: ``[[number of processes, [arguments of the train command], {environment},
pattern], …]``. Once a file fits a job's pattern, its processes get SIGTERM. What process K of job J says goes
to ``J-K.out`` beside the file, and ``codes.json`` has the exit codes of all.

accelerate takes FSDP on accelerators alone: ``AcceleratorState`` looks at it only where the distributed type
is ``MULTI_GPU`` or another of that kind, and ``MULTI_CPU`` is not among them. Where the environment asks for
FSDP its type is set by hand, as it would be there; all that follows is accelerate's and the Trainer's code.
"""

import contextlib
import glob
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from transformers import AutoModelForMaskedLM, AutoTokenizer  # noqa: F401 - imported before the fork

import sparsezoo_hub.training.run  # noqa: F401
from sparsezoo_hub.cli.app import app, run_verb


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def take_fsdp_on_a_cpu() -> None:
    begin = AcceleratorState.__init__

    def with_fsdp(self: AcceleratorState, *arguments: Any, **named: Any) -> None:
        first = not AcceleratorState._shared_state.get("_mixed_precision")
        begin(self, *arguments, **named)
        if first:
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = named["fsdp_plugin"]

    AcceleratorState.__init__ = with_fsdp


def trained(arguments: list[str]) -> int:
    sys.argv = ["sparsezoo-hub", "train", *arguments]
    try:
        run_verb(app)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start(
    job: int,
    rank: int,
    count: int,
    port: int,
    arguments: list[str],
    environment: dict[str, str],
    folder: Path,
) -> int:
    child = os.fork()
    if child:
        return child
    os.environ |= environment
    if "ACCELERATE_USE_FSDP" in environment:
        take_fsdp_on_a_cpu()
    with (folder / f"{job}-{rank}.out").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    if count > 1:
        os.environ |= {name: str(value) for name, value in place.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["ACCELERATE_USE_CPU"] = "true"
    code = trained(arguments)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def ended(children: list[int], signalled_at: str) -> list[int]:
    """The exit codes of the children, in their order."""
    codes: dict[int, int] = {}
    signalled = not signalled_at
    while len(codes) < len(children):
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            codes[child] = os.waitstatus_to_exitcode(status)
        elif not signalled and glob.glob(signalled_at):
            signalled = True
            for each in children:
                os.kill(each, signal.SIGTERM)
        else:
            time.sleep(0.02)
    return [codes[child] for child in children]


def main(path: str) -> None:
    folder, codes = Path(path).parent, []
    for job, (count, arguments, environment, signalled_at) in enumerate(json.loads(Path(path).read_text())):
        port = free_port()
        children = [start(job, rank, count, port, arguments, environment, folder) for rank in range(count)]
        codes.append(ended(children, signalled_at))
    (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(sys.argv[1])
