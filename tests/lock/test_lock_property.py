"""Zeros never revive: random masks, shapes, dtypes and sequences of optimizers."""

import copy
from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lock_case import OPTIMIZERS, step
from torch import Tensor, nn

from sparsezoo_hub import PatternLock

SIZES = st.integers(1, 12)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
EVENTS = ("nothing", "copy", "cast", "replace", "freeze")


def network(sizes: list[int], dtype: torch.dtype) -> nn.Sequential:
    layers = [
        part for width, next_width in pairwise(sizes) for part in (nn.Linear(width, next_width), nn.Tanh())
    ]
    return nn.Sequential(*layers).to(dtype)


def revived(model: nn.Module, masks: dict[str, Tensor]) -> int:
    weights = dict(model.named_parameters())
    return sum(int((weights[name].detach()[~mask] != 0).sum()) for name, mask in masks.items())


def live(model: nn.Sequential, event: str) -> nn.Sequential:
    """Let something happen to the model between two optimizers."""
    first = model[0]
    if event == "copy":
        return copy.deepcopy(model)
    if event == "cast":
        return model.double().bfloat16()
    if event == "replace":
        first.weight = nn.Parameter(torch.randn_like(first.weight))
    if event == "freeze":
        first.weight.requires_grad_(not first.weight.requires_grad)
    return model


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(SIZES, min_size=2, max_size=4),
    dtype=DTYPES,
    density=st.floats(0, 1),
    events=st.lists(
        st.tuples(st.sampled_from(EVENTS), st.sampled_from(sorted(OPTIMIZERS))), min_size=1, max_size=4
    ),
    kept_optimizer=st.booleans(),
)
def test_zeros_never_revive(
    seed: int,
    sizes: list[int],
    dtype: torch.dtype,
    density: float,
    events: list[tuple[str, str]],
    kept_optimizer: bool,
) -> None:
    torch.manual_seed(seed)
    model = network(sizes, dtype)
    masks = {
        name: torch.rand(weight.shape) < density
        for name, weight in model.named_parameters()
        if weight.ndim == 2
    }
    early = OPTIMIZERS["sgd"](model.parameters())
    if kept_optimizer:  # momentum from before the lock
        train_once(model, early)
    PatternLock.prune(model, masks)
    for event, name in events:
        model = live(model, event)
        optimizer = OPTIMIZERS[name](model.parameters())
        for _ in range(2):
            train_once(model, optimizer)
        assert revived(model, masks) == PatternLock.revived(model) == 0


def train_once(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    inputs = torch.randn(3, model[0].in_features, dtype=model[0].weight.dtype)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(inputs).float().square().mean()
        loss.backward()
        return loss

    step(optimizer, closure)
