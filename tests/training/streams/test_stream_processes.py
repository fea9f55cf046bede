"""Streams in real processes that train together."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stream_case import dealt, loader, parts, settings, write_corpus

pytestmark = pytest.mark.distributed


def test_two_processes_are_dealt_one_processs_batches_and_know_where_all_lanes_stand(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "a.jsonl")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    completed = subprocess.run(
        [*command, str(Path(__file__).with_name("stream_ranks.py")), str(path), str(tmp_path / "said.json")],
        env={
            **os.environ,
            "ACCELERATE_USE_CPU": "true",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stderr
    said = json.loads((tmp_path / "said.json").read_text())
    alone = loader(settings(parts({"": path})))
    assert said["batches"] == list(dealt([alone], 3))
    assert said["lanes"] == alone.tensors()["lanes"].tolist()
