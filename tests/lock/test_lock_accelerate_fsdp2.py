"""accelerate's own FSDP2 path holds the pattern: prepare, step, gather, save."""

from pathlib import Path

import pytest
from accelerate_fsdp2 import outcomes
from lock_case import Contract, locked_model
from transformers import AutoModelForSequenceClassification
from two_processes import Findings, launched

from sparsezoo_hub import PatternLock
from sparsezoo_hub.core.masks import mask_digest

CASES = ("plain", "efficient")  # the second loads the whole model on the first process, by the meta device


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accelerate-fsdp2")


@pytest.fixture(scope="module")
def findings(folder: Path) -> Findings:
    return launched(outcomes, folder, folder)


@pytest.mark.parametrize("case", CASES)
def test_the_gathered_state_keeps_every_zero_and_moves(case: str, findings: Findings) -> None:
    first, second = (each[case] for each in findings)
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
    assert sum(findings[0][f"{case}-broken"]["revived"].values()) > 100


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("findings")
def test_what_was_gathered_is_saved_and_locks_again(case: str, folder: Path) -> None:
    again = AutoModelForSequenceClassification.from_pretrained(folder / case)
    original = locked_model("sequence")
    assert mask_digest(PatternLock.masks(again)) == mask_digest(PatternLock.masks(original))
    Contract(original).check(again)


def test_on_a_cpu_accelerate_does_not_take_this_path_by_itself(findings: Findings) -> None:
    """Fails once accelerate does: then the type need not be set by hand any more."""
    assert {each["plain"]["type_without_force"] for each in findings} == {"MULTI_CPU"}
