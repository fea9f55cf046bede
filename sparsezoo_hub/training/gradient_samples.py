"""Gradient samples: gradients of the training loss for methods that estimate its curvature."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# From an optimizer step to the gradients of its mask update, endless, one per mini-batch.
GradientSource = Callable[[int], Iterator[Mapping[str, Tensor]]]


def sample_gradients(
    model: nn.Module,
    modules: Mapping[str, nn.Linear],
    loss: Callable[[nn.Module, Mapping[str, Tensor]], Tensor],
    examples: Any,
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
        collate: from a list of examples to a batch.
        batch_size: examples to a gradient.
        seed: of the draws.
    """
    weights = {name: module.weight for name, module in modules.items()}
    device = next(iter(weights.values())).device
    generator = torch.Generator().manual_seed(seed)
    while True:
        indices = torch.randint(len(examples), (batch_size,), generator=generator).tolist()
        mask_seed = int(torch.randint(2**31, (1,), generator=generator))
        was_training = model.training
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(mask_seed)
            batch = collate([examples[index] for index in indices])
            model.eval()
            try:
                value = loss(model, {name: each.to(device) for name, each in batch.items()})
                gradients = torch.autograd.grad(value, list(weights.values()))
            finally:
                model.train(was_training)
        yield dict(zip(weights, gradients, strict=True))
