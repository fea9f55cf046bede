"""Inspection: what is in a package, tensor by tensor, as counted in its weights."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsezoo_hub.core.sparsity_report import measure_sparsity
from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.architecture import model_class, read_config
from sparsezoo_hub.packaging.manifest import read_manifest
from sparsezoo_hub.packaging.mask_file import read_masks
from sparsezoo_hub.packaging.recipe_file import read_recipe
from sparsezoo_hub.packaging.weights_file import measure_components, read_tensors, tensor_names

# In this order; a group without tensors is left out.
GROUPS = ("pruned", "dense", "embeddings", "layer_norm", "biases", "head")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the weights file."""

    name: str
    shape: tuple[int, ...]
    numel: int
    zeros: int
    sparsity: float


@dataclass(frozen=True)
class GroupInfo:
    """Tensors of one kind.

    ``pruned`` are those with a mask; ``embeddings``, ``layer_norm`` and ``biases`` are the base model's;
    ``dense`` is what else the base model has (a pooler, say, or all Linear weights of a dense model);
    ``head`` is everything outside it.
    """

    name: str
    numel: int
    zeros: int
    sparsity: float
    tensors: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class PackageInspection:
    """A package at a glance; ``sparsity`` is over the pruned weights together, ``target`` the recipe's.

    A dense package has no pruned weights: sparsity 0.0, neither target nor digest.
    """

    name: str
    recipe: str
    summary: str
    backbone: str
    created: str
    sparsity: float
    target: float | None
    mask_digest: str | None
    weights_sha256: str
    sizes: dict[str, int]
    groups: tuple[GroupInfo, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the inspection as JSON holds it."""
        return dataclasses.asdict(self)


def inspect_package(folder: Path) -> PackageInspection:
    """Return what is in the package: every zero counted anew, nothing taken from the manifest's numbers.

    Args:
        folder: a package.

    Raises:
        PackageError: if the manifest, the config, the masks or the weights cannot be read, or masks and
            zeros disagree.
        RecipeError: if the recipe cannot be read.
    """
    manifest = read_manifest(folder / layout.MANIFEST)
    masks = {} if manifest.is_dense else read_masks(folder / layout.MASKS)
    weights = folder / layout.WEIGHTS
    components = measure_components(weights, masks)
    recipe = read_recipe(folder)
    tensors = _tensors(weights)
    pruned = tensor_names(masks, tensors, str(weights))
    prefix = f"{model_class(read_config(folder)).base_model_prefix}."
    if not any(name.startswith(prefix) for name in tensors):
        prefix = ""  # the base model itself
    sizes = {name: entry.size for name, entry in manifest.files.items()}
    zeros, numel = sum(each.zeros for each in components), sum(each.numel for each in components)
    return PackageInspection(
        name=manifest.name,
        recipe=recipe.name,
        summary=recipe.summary,
        backbone=manifest.parents.backbone,
        created=manifest.created.isoformat(),
        sparsity=zeros / numel if numel else 0.0,
        target=manifest.sparsity.target,
        mask_digest=manifest.mask_digest,
        weights_sha256=manifest.files[layout.WEIGHTS].sha256,
        sizes=sizes,
        groups=_groups(tensors, set(pruned.values()), prefix),
    )


def _tensors(weights: Path) -> dict[str, TensorInfo]:
    found = {}
    for name, tensor in read_tensors(weights):
        (count,) = measure_sparsity({name: tensor})
        found[name] = TensorInfo(name, tuple(tensor.shape), count.numel, count.zeros, count.sparsity)
    return found


def _groups(tensors: dict[str, TensorInfo], pruned: Collection[str], prefix: str) -> tuple[GroupInfo, ...]:
    members: dict[str, list[TensorInfo]] = {group: [] for group in GROUPS}
    for name, tensor in tensors.items():
        members[_group_of(name, pruned, prefix)].append(tensor)
    return tuple(_group(name, infos) for name, infos in members.items() if infos)


def _group_of(name: str, pruned: Collection[str], prefix: str) -> str:
    if name in pruned:
        return "pruned"
    if not name.startswith(prefix):
        return "head"
    if name.endswith("bias"):
        return "biases"
    if "norm" in name.lower():
        return "layer_norm"
    return "embeddings" if "embeddings." in name else "dense"


def _group(name: str, infos: list[TensorInfo]) -> GroupInfo:
    numel, zeros = sum(info.numel for info in infos), sum(info.zeros for info in infos)
    return GroupInfo(name, numel, zeros, zeros / numel if numel else 0.0, tuple(infos))
