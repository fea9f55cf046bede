"""The pattern of an imported model: its explicit masks where it has them, its zeros elsewhere."""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sparsezoo_hub.core.masks import sparsity_of
from sparsezoo_hub.core.pattern_lock import masks_from_zeros
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.weights_file import ACCIDENTAL_SPARSITY, tensor_names


def imported_pattern(
    model: PreTrainedModel, stored: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the masks to lock by component name, and the names of masks that cannot be locked.

    An explicit mask without a 0 is one of a dense weight. Zeros are a pattern if any weight of the model has
    more than an accident of them.

    Args:
        model: with its zeros in place.
        stored: explicit masks, bool, True = kept, by the name of their tensor.
        source: the checkpoint, for messages.

    Returns:
        Masks of linear weights of the base model, none if the model is dense; and tensors outside of it
        (embeddings, biases, heads) whose mask has a 0, whose zeros will train away.

    Raises:
        PackageError: if a weight that its mask keeps is 0.
    """
    modules = linear_modules(model)
    tensors = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    component_of = {name: each for each, name in tensor_names(modules, tensors, source).items()}
    masks = masks_from_zeros(model)
    outside = []
    for name, mask in stored.items():
        component = component_of.get(_stored_name(name, component_of))
        if component is None:
            outside += [] if bool(mask.all()) else [name]
            continue
        _check_kept(source, name, modules[component].weight.detach(), mask)
        if not bool(mask.all()):
            masks[component] = mask
    pruned = any(sparsity_of({name: mask}) > ACCIDENTAL_SPARSITY for name, mask in masks.items())
    ordered = {name: masks[name] for name in modules if name in masks}
    return (ordered if pruned else {}), tuple(outside)


def _stored_name(name: str, known: Mapping[str, str]) -> str:
    """Return what the model calls a tensor that was saved with or without a head."""
    return next(
        (each for each in known if each == name or each.endswith(f".{name}") or name.endswith(f".{each}")),
        name,
    )


def _check_kept(source: str, name: str, weight: Tensor, mask: Tensor) -> None:
    zeros = int(torch.count_nonzero(mask & (weight == 0)))
    if zeros:
        raise PackageError(
            f"{source}: {name} has {zeros} weights of 0 that its mask keeps: mask and weight are of "
            "different moments; correct the mask, or remove it to take the zeros for the pattern"
        )
