"""Two processes on CPU, as accelerate launches them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

Findings = list[dict[str, dict[str, Any]]]


def launched(script: str, folder: Path, *cases: str) -> Findings:
    """What each process of a script of this folder wrote to ``folder/RANK.json``."""
    completed = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
            *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
            *("--main_process_port", "0"),
            *(str(Path(__file__).with_name(script)), str(folder), *cases),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
