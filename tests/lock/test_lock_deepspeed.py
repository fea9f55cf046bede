"""DeepSpeed keeps master weights that no lock sees, so it is refused. Runs where DeepSpeed is installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
def test_a_locked_model_is_refused_by_the_name_of_a_weight() -> None:
    script = Path(__file__).with_name("deepspeed_training.py")
    completed = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    refusal = "refused: the pattern lock of 12 weights, encoder.layer.0."
    assert completed.stdout.count(refusal) == 2, completed.stderr
    assert completed.stdout.count("use DDP or FSDP2, or call PatternLock.unlock") == 2
