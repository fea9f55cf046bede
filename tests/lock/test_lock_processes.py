"""Two processes on CPU (gloo): DDP and FSDP2 hold the pattern, FSDP1 is refused."""

import pytest
from sharded_training import outcomes
from two_processes import Findings, launched

OPTIMIZERS = ("adamw-foreach", "sgd")
REPLICATED = ("ddp", "ddp-bucket-view", "accelerate")
HOLDING = (*REPLICATED, "fsdp2", "fsdp2-without-reshard")
REFUSED = {"fsdp1": "by none", "fsdp1-orig-params": "by one of shape"}

HELD = [f"{wrapper}:{optimizer}" for wrapper in HOLDING for optimizer in OPTIMIZERS]
BROKEN = [f"{case}:broken" for case in HELD]
NOT_HELD = [f"{wrapper}:adamw-foreach" for wrapper in REFUSED]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """What each process saw in every case."""
    return launched(outcomes, tmp_path_factory.mktemp("processes"), *HELD, *BROKEN, *NOT_HELD)


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
