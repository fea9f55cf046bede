"""Gradient samples: gradients of the training loss for methods that estimate its curvature."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from sparsezoo_hub.training.numbered_rows import Mask, NumberedRows

# From an optimizer step to the gradients of its mask update, endless, one per mini-batch.
GradientSource = Callable[[int], Iterator[Mapping[str, Tensor]]]


def sample_gradients(
    model: nn.Module,
    modules: Mapping[str, nn.Linear],
    loss: Callable[[nn.Module, Mapping[str, Tensor]], Tensor],
    examples: Any,
    mask: Mask | None,
    collate: Callable[[Sequence[Any]], Mapping[str, Tensor]],
    batch_size: int,
    seed: int,
) -> Iterator[Mapping[str, Tensor]]:
    """Yield the gradient of the loss over one mini-batch after another, by component, without end.

    The model is in evaluation mode meanwhile. Which examples are drawn, and how they are masked, depends on
    the seed alone, so every process samples the same; training's random numbers go on as if nothing had been
    drawn.

    Args:
        model: without a wrapper; its gradients stay as they are.
        modules: the components.
        loss: of a model and a batch.
        examples: a sequence.
        mask: of an example and a seed; None if examples are taken as they are.
        collate: from a list of examples to a batch.
        batch_size: examples to a gradient.
        seed: of the draws.
    """
    weights = {name: module.weight for name, module in modules.items()}
    device = next(iter(weights.values())).device
    generator = torch.Generator().manual_seed(seed)
    rows = NumberedRows(examples, mask, seed)
    for first in count(step=batch_size):
        indices = torch.randint(len(examples), (batch_size,), generator=generator).tolist()
        batch = collate([rows[place] for place in enumerate(indices, first)])
        was_training = model.training
        with torch.enable_grad():
            model.eval()
            try:
                value = loss(model, {name: each.to(device) for name, each in batch.items()})
                gradients = torch.autograd.grad(value, list(weights.values()))
            finally:
                model.train(was_training)
        yield dict(zip(weights, gradients, strict=True))
