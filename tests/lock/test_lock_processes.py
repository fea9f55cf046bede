"""Two processes on CPU (gloo): DDP and FSDP2 hold the pattern, FSDP1 is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OPTIMIZERS = ("adamw-foreach", "sgd")
REPLICATED = ("ddp", "ddp-bucket-view", "accelerate")
HOLDING = (*REPLICATED, "fsdp2", "fsdp2-without-reshard")
REFUSED = {"fsdp1": "by none", "fsdp1-orig-params": "by one of shape"}

HELD = [f"{wrapper}:{optimizer}" for wrapper in HOLDING for optimizer in OPTIMIZERS]
BROKEN = [f"{case}:broken" for case in HELD]
NOT_HELD = [f"{wrapper}:adamw-foreach" for wrapper in REFUSED]

Findings = list[dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """What each process saw in every case: one launch, because to start takes longer than to train."""
    folder = tmp_path_factory.mktemp("processes")
    here = Path(__file__).parent
    completed = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
            *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
            *("--main_process_port", "0"),
            *(str(here / "sharded_training.py"), str(folder), *HELD, *BROKEN, *NOT_HELD),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", HELD)
def test_gathered_weights_keep_every_zero_and_move(case: str, findings: Findings) -> None:
    for each in findings:
        assert each[case]["revived"] == {}
        assert each[case]["still"] == []
        assert each[case]["moved"] > 0.6
        assert each[case]["is_locked"]
        assert each[case]["revived_after_evaluation"] == 0


@pytest.mark.parametrize("case", HELD)
def test_every_process_has_the_masks_from_before_and_the_same_weights(case: str, findings: Findings) -> None:
    first, second = findings
    assert first[case]["same_digest"]
    assert second[case]["same_digest"]
    assert first[case]["checksum"] == second[case]["checksum"]


@pytest.mark.parametrize("case", HELD)
def test_masks_are_sharded_if_the_weights_are(case: str, findings: Findings) -> None:
    for each in findings:
        assert each[case]["masks_sharded_like_weights"] == case.startswith("fsdp2")


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_lock_fails_the_contract_in_every_process(case: str, findings: Findings) -> None:
    for each in findings:
        assert sum(each[case]["revived"].values()) > 100


@pytest.mark.parametrize("case", NOT_HELD)
def test_flattened_parameters_are_refused_by_name_at_the_first_step(case: str, findings: Findings) -> None:
    for each in findings:
        refusal = each[case]["refused"]
        assert refusal.startswith("the pattern lock of encoder.layer.")
        assert REFUSED[case.split(":", maxsplit=1)[0]] in refusal
        assert "use DDP or FSDP2" in refusal
