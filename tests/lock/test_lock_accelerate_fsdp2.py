"""accelerate's own FSDP2 path holds the pattern: prepare, step, gather, save."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lock_case import Contract, locked_model
from transformers import AutoModelForSequenceClassification

from sparsezoo_hub import PatternLock
from sparsezoo_hub.core.masks import mask_digest

CASES = ("plain", "efficient")  # the second loads the whole model on the first process, by the meta device
Findings = tuple[Path, list[dict[str, dict[str, Any]]]]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = tmp_path_factory.mktemp("accelerate-fsdp2")
    completed = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
            *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
            *("--main_process_port", "0"),
            *(str(Path(__file__).parent / "accelerate_fsdp2.py"), str(folder)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_the_gathered_state_keeps_every_zero_and_moves(case: str, findings: Findings) -> None:
    first, second = (each[case] for each in findings[1])
    assert first["sharded"]
    assert second["sharded"]
    assert first["same_digest"]
    assert second["same_digest"]
    assert (first["gathered"] > 30, second["gathered"]) == (True, 0)
    assert first["revived"] == {}
    assert first["still"] == []
    assert first["moved"] > 0.6


@pytest.mark.parametrize("case", CASES)
def test_a_broken_lock_fails_the_contract(case: str, findings: Findings) -> None:
    assert sum(findings[1][0][f"{case}-broken"]["revived"].values()) > 100


@pytest.mark.parametrize("case", CASES)
def test_what_was_gathered_is_saved_and_locks_again(case: str, findings: Findings) -> None:
    again = AutoModelForSequenceClassification.from_pretrained(findings[0] / case)
    original = locked_model("sequence")
    assert mask_digest(PatternLock.masks(again)) == mask_digest(PatternLock.masks(original))
    Contract(original).check(again)


def test_on_a_cpu_accelerate_does_not_take_this_path_by_itself(findings: Findings) -> None:
    """Fails once accelerate does: then the type need not be set by hand any more."""
    assert {each["plain"]["type_without_force"] for each in findings[1]} == {"MULTI_CPU"}
