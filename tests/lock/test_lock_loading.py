"""A state dict that does not fit is refused before anything of it is copied, however the model is held."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from lock_case import OPTIMIZERS, locked_model, random_masks, small_model, train_plain
from torch import nn
from torch.nn.parallel import DataParallel
from torch.optim.swa_utils import AveragedModel

from sparsezoo_hub import PatternLock
from sparsezoo_hub.errors import LockError

adamw = OPTIMIZERS["adamw-foreach"]

# Each holder with the same holder of a dense model, whose state dict it must refuse.
HOLDERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "model": lambda model: model,
    "base-model": lambda model: model.base_model,
    "copy": copy.deepcopy,
    "pickled": lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301  # our own bytes
    "sequential": nn.Sequential,
    "data-parallel": DataParallel,
    "averaged": AveragedModel,
    "compiled": lambda model: torch.compile(model, backend="eager"),
}


COUNTER = "n_averaged"  # of the averaging wrapper; torch copies what a wrapper has before it asks the model


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    after = model.state_dict()
    return list(after) == list(before) and all(
        torch.equal(value, after[name]) for name, value in before.items() if name != COUNTER
    )


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_refused_state_dict_leaves_every_value_as_it_was(holder: str, assign: bool) -> None:
    model = HOLDERS[holder](locked_model())
    before = values(model)
    with torch.no_grad():
        dense = {name: value + 1 for name, value in before.items()}
    with pytest.raises(LockError, match=r"encoder\.layer\.0\.\S+: the state dict to be loaded has \d+ non"):
        model.load_state_dict(dense, assign=assign)
    assert same(model, before)


def test_the_last_weight_of_a_model_is_looked_at_before_the_first_is_copied() -> None:
    model = locked_model()
    before = values(model)
    incoming = {name: value * 2 for name, value in before.items()}
    last = [name for name in incoming if name.endswith("output.dense.weight")][-1]
    incoming[last] = torch.ones_like(incoming[last])
    with pytest.raises(LockError, match=last.removeprefix("bert.")):
        model.load_state_dict(incoming)
    assert same(model, before)


def test_part_of_a_dense_state_dict_is_refused_too() -> None:
    model = locked_model()
    before = values(model)
    part = {name: value + 1 for name, value in before.items() if "layer.1" in name or "embeddings" in name}
    with pytest.raises(LockError, match=r"encoder\.layer\.1\."):
        model.load_state_dict(part, strict=False)
    assert same(model, before)


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_state_dict_of_the_same_pattern_is_loaded(holder: str) -> None:
    source = locked_model()
    train_plain(source, adamw(source.parameters()))
    target = HOLDERS[holder](locked_model())
    wanted = values(HOLDERS[holder](source))
    target.load_state_dict(wanted)
    assert same(target, wanted)


def test_an_inner_module_refuses_by_name_what_does_not_fit() -> None:
    model = locked_model()
    layer = model.bert.encoder.layer[1]
    with pytest.raises(LockError, match=r"encoder\.layer\.1\."):
        layer.load_state_dict(small_model().bert.encoder.layer[0].state_dict())


def test_an_unlocked_model_keeps_no_hook_and_loads_anything() -> None:
    fresh = small_model()
    model = small_model()
    for _ in range(2):  # locked twice, hooked once
        masks = random_masks(model)
        PatternLock.prune(model, masks)
    assert len(model._load_state_dict_pre_hooks) == len(fresh._load_state_dict_pre_hooks) + 1
    PatternLock.unlock(model)
    for module, other in zip(model.modules(), fresh.modules(), strict=True):
        assert len(module._load_state_dict_pre_hooks) == len(other._load_state_dict_pre_hooks)
        assert len(module._load_state_dict_post_hooks) == len(other._load_state_dict_post_hooks)
    model.load_state_dict(fresh.state_dict())


def test_a_model_that_is_edited_loads_anything_and_refuses_again_afterwards() -> None:
    model = locked_model()
    with PatternLock.editing(model):
        model.load_state_dict(small_model().state_dict())
    before = values(model)
    with pytest.raises(LockError, match="nonzero values"):
        model.load_state_dict({name: value + 1 for name, value in before.items()})
    assert same(model, before)
