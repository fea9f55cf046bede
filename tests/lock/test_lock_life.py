"""What a program does to a model besides training: copies, casts, replaced and reshaped weights."""

import copy
import gc
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from lock_case import OPTIMIZERS, Contract, batch, lock, locked_model, small_model, train_plain
from torch import nn
from torch.nn.utils import parametrizations
from transformers import PreTrainedModel

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.errors import LockError

QUERY = "encoder.layer.0.attention.self.query.weight"
adamw = OPTIMIZERS["adamw-foreach"]


@pytest.fixture(autouse=True)
def _nothing_locked_is_left_over() -> Iterator[None]:
    """A weight that can no longer be locked stops every optimizer of the process, the next test's too."""
    yield
    gc.collect()


def saved_and_loaded(model: nn.Module, folder: Path) -> nn.Module:
    torch.save(model, folder / "model.pt")
    return torch.load(folder / "model.pt", weights_only=False)


COPIES: dict[str, Callable[[nn.Module, Path], nn.Module]] = {
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),  # noqa: S301  # our own bytes
    "torch-save": saved_and_loaded,
    "copy-of-a-copy": lambda model, _: copy.deepcopy(copy.deepcopy(model)),
}


def query(model: PreTrainedModel) -> nn.Linear:
    return model.bert.encoder.layer[0].attention.self.query


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_locked_and_trains_on_its_own(kind: str, tmp_path: Path) -> None:
    model = locked_model()
    contract = Contract(model)
    copied = COPIES[kind](model, tmp_path)
    assert mask_digest(PatternLock.masks(copied)) == mask_digest(PatternLock.masks(model))
    train_plain(copied, adamw(copied.parameters()))
    contract.check(copied)
    assert all(torch.equal(weight, contract.before[name]) for name, weight in layer_weights(model, contract))
    train_plain(model, adamw(model.parameters()))
    contract.check(model)


def layer_weights(model: PreTrainedModel, contract: Contract) -> list[tuple[str, torch.Tensor]]:
    return [(name, weight) for name, weight in model.bert.named_parameters() if name in contract.before]


@pytest.mark.parametrize("released", ["original", "copy"])
@pytest.mark.parametrize("kind", COPIES)
def test_unlocking_one_leaves_the_other(kind: str, released: str, tmp_path: Path) -> None:
    model = locked_model()
    contract = Contract(model)
    copied = COPIES[kind](model, tmp_path)
    free, held = (model, copied) if released == "original" else (copied, model)
    PatternLock.unlock(free)
    assert (is_locked(free), is_locked(held)) == (False, True)
    assert hasattr(held.config, "quantization_config")
    assert not hasattr(free.config, "quantization_config")
    train_plain(held, adamw(held.parameters()))
    contract.check(held)
    train_plain(free, adamw(free.parameters()))
    with pytest.raises(AssertionError, match="revived"):
        contract.check(free)


def test_a_copy_outlives_its_original() -> None:
    model = locked_model()
    contract = Contract(model)
    copied = copy.deepcopy(model)
    del model
    gc.collect()
    train_plain(copied, adamw(copied.parameters()))
    contract.check(copied)


@pytest.mark.parametrize("kind", COPIES)
def test_a_frozen_model_is_locked_copied_and_holds_once_it_is_free(kind: str, tmp_path: Path) -> None:
    model = small_model().requires_grad_(False)
    lock(model)
    contract = Contract(model)
    model = COPIES[kind](model, tmp_path)
    optimizer = adamw(model.parameters())
    model.requires_grad_(True)
    train_plain(model, optimizer)
    contract.check(model)


def test_a_weight_frozen_for_a_while_does_not_move_and_holds_afterwards() -> None:
    model = locked_model()
    contract = Contract(model)
    optimizer = adamw(model.parameters())
    query(model).weight.requires_grad_(False)
    train_plain(model, optimizer)
    assert torch.equal(query(model).weight, contract.before[QUERY])
    query(model).weight.requires_grad_(True)
    train_plain(model, optimizer)
    contract.check(model)


CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "half": lambda model: model.half(),
    "bfloat16": lambda model: model.bfloat16(),
    "double": lambda model: model.double(),
    "to-dtype": lambda model: model.to(torch.bfloat16),
    "to-device-and-dtype": lambda model: model.to("cpu", torch.bfloat16),
    "there-and-back": lambda model: model.half().float(),
}


@pytest.mark.parametrize("made", ["before", "after"])
@pytest.mark.parametrize("cast", CASTS)
def test_a_cast_model_keeps_its_zeros(cast: str, made: str) -> None:
    model = locked_model()
    contract = Contract(CASTS[cast](copy.deepcopy(model)))
    optimizer = adamw(model.parameters()) if made == "before" else None
    model = CASTS[cast](model)
    train_plain(model, optimizer or adamw(model.parameters()))
    contract.check(model)


def test_a_conversion_that_overwrites_parameters_keeps_the_zeros() -> None:
    model = locked_model()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        model = model.bfloat16()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    contract = Contract(model)
    train_plain(model, adamw(model.parameters()))
    contract.check(model)


def test_a_parameter_put_in_the_weights_place_is_followed() -> None:
    model = locked_model()
    query(model).weight = nn.Parameter(query(model).weight.detach().clone())
    contract = Contract(model)
    train_plain(model, adamw(model.parameters()))
    contract.check(model)


def test_a_dense_parameter_put_in_the_weights_place_is_pruned_by_the_next_step() -> None:
    model = locked_model()
    contract = Contract(model)
    query(model).weight = nn.Parameter(torch.randn(16, 16))
    train_plain(model, adamw(model.parameters()), steps=1)
    contract.check(model)


def with_another_shape(module: nn.Linear) -> None:
    module.weight = nn.Parameter(torch.zeros(4, 16))


def with_other_data(module: nn.Linear) -> None:
    """What partitions parameters does: the parameter stays, its values are elsewhere (DeepSpeed ZeRO-3)."""
    module.weight.data = torch.zeros(0)


def without_a_weight(module: nn.Linear) -> None:
    del module.weight


REPLACEMENTS: dict[str, Callable[[nn.Linear], object]] = {
    "another-shape": with_another_shape,
    "other-data": with_other_data,
    "no-weight": without_a_weight,
    "weight-norm": parametrizations.weight_norm,
    "spectral-norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_a_weight_that_cannot_be_locked_any_more_stops_the_next_step_by_name(replacement: str) -> None:
    model = locked_model()
    optimizer = adamw(model.parameters())
    model(**batch()).loss.backward()
    REPLACEMENTS[replacement](query(model))
    with pytest.raises(LockError, match=r"encoder\.layer\.0\.attention\.self\.query\.weight cannot hold"):
        optimizer.step()
    with pytest.raises(LockError, match=r"query\.weight cannot hold"):
        PatternLock.verify(model)
    PatternLock.unlock(model)
    optimizer.zero_grad()
    optimizer.step()


def test_a_parametrized_model_that_nobody_holds_stops_no_other_training() -> None:
    abandoned = locked_model()
    parametrizations.weight_norm(query(abandoned))
    del abandoned
    gc.collect()
    model = locked_model()
    contract = Contract(model)
    train_plain(model, adamw(model.parameters()))
    contract.check(model)
