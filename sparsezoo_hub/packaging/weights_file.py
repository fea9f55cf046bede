"""The weights file: which tensor is which component, and its zeros as they lie in the file.

Masks are named relative to the base model, ``encoder.layer.0…``; a file written by a model with a head
has the base model's prefix in front of it, ``bert.encoder.layer.0…``.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sparsezoo_hub.core.sparsity_report import ComponentSparsity, measure_sparsity
from sparsezoo_hub.errors import PackageError

# Of one weight. Rounding and dead units leave a zero here and there; whoever prunes, prunes more.
ACCIDENTAL_SPARSITY = 0.1


def tensor_names(components: Iterable[str], tensors: Collection[str], source: str) -> dict[str, str]:
    """Return the tensor's name for every component.

    Args:
        components: names relative to the base model.
        tensors: the names in a weights file.
        source: the file's name, for messages.

    Raises:
        PackageError: if a component is no tensor of the file, or may be several.
    """
    found = {}
    for component in components:
        matches = [name for name in tensors if name == component or name.endswith(f".{component}")]
        if component in matches:
            matches = [component]
        if len(matches) != 1:
            got = f"{len(matches)}: {', '.join(sorted(matches))}" if matches else "none"
            raise PackageError(
                f"{source}: one tensor must be {component!r}, alone or after a prefix, got {got}; "
                "masks or config belong to another model"
            )
        found[component] = matches[0]
    return found


def stored_names(path: Path, components: Iterable[str]) -> dict[str, str]:
    """Return what a weights file calls each component; reads no weight.

    Raises:
        PackageError: if the file cannot be read, or a component is no tensor of it, or may be several.
    """
    with _opened(path) as file:
        return tensor_names(components, list(file.keys()), str(path))


def read_tensors(path: Path, keep: Callable[[str], bool] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Return the tensors of a weights file one after the other, by name.

    Args:
        path: a safetensors file.
        keep: which names to read; all of them by default.

    Raises:
        PackageError: if the file cannot be read as safetensors.
    """
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            if keep is None or keep(name):
                yield name, file.get_tensor(name)


def measure_components(path: Path, masks: Mapping[str, Tensor]) -> list[ComponentSparsity]:
    """Return the zeros of every component that has a mask, counted in the file, in the masks' order.

    Args:
        path: a weights file, saved with or without a head.
        masks: bool, True = kept, by component name.

    Raises:
        PackageError: if the file cannot be read, a mask does not fit, or a weight under a False is not
            exactly +0.0.
    """
    component_of = {name: component for component, name in stored_names(path, masks).items()}
    measured: dict[str, ComponentSparsity] = {}
    for name, tensor in read_tensors(path, component_of.__contains__):
        component = component_of[name]
        _check_zeros(path, name, tensor, masks[component])
        (measured[component],) = measure_sparsity({component: tensor})
    return [measured[component] for component in masks]


def check_dense(path: Path, components: Iterable[str]) -> None:
    """Check that no weight has so many zeros that it must have been pruned.

    Args:
        path: a weights file, saved with or without a head.
        components: names of the Linear weights of the base model.

    Raises:
        PackageError: if the file cannot be read, lacks a component, or a weight is pruned.
    """
    wanted = set(stored_names(path, components).values())
    measured = (
        measure_sparsity({name: tensor})[0] for name, tensor in read_tensors(path, wanted.__contains__)
    )
    pruned = [each for each in measured if each.sparsity > ACCIDENTAL_SPARSITY]
    if pruned:
        raise PackageError(
            f"{path}: {len(pruned)} weights are pruned, {pruned[0].name} for example has a fraction of "
            f"{pruned[0].sparsity:.4f} zeros, so this is no dense model; lock its zeros with "
            "PatternLock.lock_from_zeros, and package it again"
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise PackageError(f"{path} cannot be read as weights: {error}; fetch or package it again") from None


def _check_zeros(path: Path, name: str, tensor: Tensor, mask: Tensor) -> None:
    if tensor.shape != mask.shape:
        raise PackageError(
            f"{path}: {name} has shape {tuple(tensor.shape)}, its mask has {tuple(mask.shape)}; "
            "the masks belong to another model"
        )
    # Compared as bytes: -0.0 equals 0.0 as a number, but is not what the mask promises.
    entries = tensor.contiguous().flatten().view(torch.uint8).view(mask.numel(), tensor.element_size())
    wrong = int(entries[~mask.flatten()].any(dim=1).sum())
    if wrong:
        raise PackageError(
            f"{path}: {name} has {wrong} weights that are not exactly +0.0 where the mask says pruned; "
            "use PatternLock.prune to zero them, and package again"
        )
