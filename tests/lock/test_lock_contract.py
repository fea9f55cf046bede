"""Every zero stays 0.0 and the kept weights move: optimizers, task heads and training loops."""

from pathlib import Path

import pytest
from lock_case import (
    HEADS,
    LOOPS,
    OPTIMIZERS,
    Contract,
    break_lock,
    lock,
    locked_model,
    small_model,
    train_plain,
)

from sparsezoo_hub import is_locked

EVERY_HEAD = [("plain", optimizer, head) for optimizer in OPTIMIZERS for head in HEADS]
# The loops wrap the model and the optimizer, whatever the head: each optimizer meets one head here.
EVERY_OPTIMIZER = [
    (loop, optimizer, list(HEADS)[number % len(HEADS)])
    for number, optimizer in enumerate(OPTIMIZERS)
    for loop in ("accelerate", "trainer")
    if (loop, optimizer) != ("trainer", "lbfgs")  # Trainer gives no closure, LBFGS cannot do without
]
OTHER_HEADS = [
    (loop, "adamw-foreach", head) for loop in ("accelerate", "trainer") for head in list(HEADS)[1:]
]
COMBINATIONS = EVERY_HEAD + EVERY_OPTIMIZER + OTHER_HEADS

pytestmark = pytest.mark.usefixtures("_in_a_folder_of_its_own")


@pytest.fixture
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("loop", "optimizer", "head"), COMBINATIONS)
def test_zeros_stay_and_kept_weights_move(loop: str, optimizer: str, head: str) -> None:
    model = locked_model(head)
    contract = Contract(model)
    LOOPS[loop](model, OPTIMIZERS[optimizer](model.parameters()), head)
    contract.check(model)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("optimizer", ["adamw-foreach", "sgd", "rmsprop"])
def test_an_optimizer_with_momentum_from_before_the_lock_revives_nothing(loop: str, optimizer: str) -> None:
    model = small_model()
    made_before = OPTIMIZERS[optimizer](model.parameters())
    train_plain(model, made_before)
    lock(model)
    contract = Contract(model)
    LOOPS[loop](model, made_before)
    contract.check(model)


@pytest.mark.parametrize(("loop", "optimizer", "head"), COMBINATIONS)
def test_a_broken_lock_fails_the_contract(
    loop: str, optimizer: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = locked_model(head)
    contract = Contract(model)
    break_lock(model, monkeypatch)
    LOOPS[loop](model, OPTIMIZERS[optimizer](model.parameters()), head)
    assert is_locked(model)
    with pytest.raises(AssertionError, match="revived"):
        contract.check(model)
