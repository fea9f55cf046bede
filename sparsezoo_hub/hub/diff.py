"""Diff: what two packages have in common, and where they differ."""

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sparsezoo_hub.hub.results import measured_values
from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.architecture import model_class, read_config
from sparsezoo_hub.packaging.manifest import Manifest, hash_file, read_manifest
from sparsezoo_hub.packaging.mask_file import read_masks
from sparsezoo_hub.packaging.weights_file import read_tensors


@dataclass(frozen=True)
class MaskDiff:
    """The masks of one weight: entries kept in both, in one alone, and in neither."""

    name: str
    kept_in_both: int
    kept_in_first: int
    kept_in_second: int
    kept_in_neither: int

    @property
    def jaccard(self) -> float:
        """Entries kept in both among those kept in either; 1.0 if nothing is kept."""
        either = self.kept_in_both + self.kept_in_first + self.kept_in_second
        return self.kept_in_both / either if either else 1.0


@dataclass(frozen=True)
class WeightDiff:
    """One tensor: the largest difference, and the norm of the difference in norms of the first.

    ``relative`` is None if the first is all zeros and the second is not.
    """

    name: str
    equal: bool
    max_abs: float
    relative: float | None


@dataclass(frozen=True)
class ResultDiff:
    """One measurement: the value of each package, None where it was not measured."""

    name: str
    first: float | None
    second: float | None


@dataclass(frozen=True)
class FilesDiff:
    """Files of the packages by path: in one alone, in both but different, and how many are the same."""

    only_in_first: tuple[str, ...]
    only_in_second: tuple[str, ...]
    changed: tuple[str, ...]
    num_same: int


@dataclass(frozen=True)
class PackageDiff:
    """Two packages side by side.

    ``architectures`` are the classes with the base model's sizes as far as they differ. ``not_compared`` says
    of tensors and masks that have no counterpart of their shape, and why (A is the first, B the second).
    """

    names: tuple[str, str]
    architectures: tuple[str, str]
    sparsity: tuple[float, float]
    masks: tuple[MaskDiff, ...]
    weights: tuple[WeightDiff, ...]
    not_compared: tuple[str, ...]
    recipe: tuple[str, ...]
    results: tuple[ResultDiff, ...]
    files: FilesDiff

    @property
    def is_same(self) -> bool:
        """Whether every file of both packages is the same."""
        return not (self.files.only_in_first or self.files.only_in_second or self.files.changed)

    @property
    def jaccard(self) -> float | None:
        """Entries kept in both among those kept in either, over all masks; None without masks in both."""
        if not self.masks:
            return None
        both = sum(each.kept_in_both for each in self.masks)
        either = both + sum(each.kept_in_first + each.kept_in_second for each in self.masks)
        return both / either if either else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the diff as JSON holds it."""
        masks = [{**dataclasses.asdict(each), "jaccard": each.jaccard} for each in self.masks]
        return {
            **dataclasses.asdict(self),
            "is_same": self.is_same,
            "jaccard": self.jaccard,
            "masks": masks,
        }


def diff_packages(first: Path, second: Path) -> PackageDiff:
    """Return how two packages differ: masks, weights, recipe, results and files.

    Args:
        first: a package.
        second: a package, of the same architecture or another.

    Raises:
        PackageError: if a file of either cannot be read.
    """
    manifests = read_manifest(first / layout.MANIFEST), read_manifest(second / layout.MANIFEST)
    masks, missing_masks = _masks(first, second, manifests)
    weights, missing_weights = _weights(first, second)
    return PackageDiff(
        names=(manifests[0].name, manifests[1].name),
        architectures=_architectures(first, second),
        sparsity=(manifests[0].sparsity.overall, manifests[1].sparsity.overall),
        masks=masks,
        weights=weights,
        not_compared=(*missing_masks, *missing_weights),
        recipe=_recipe(first, second),
        results=_results(*manifests),
        files=_files(first, second),
    )


def _masks(
    first: Path, second: Path, manifests: tuple[Manifest, Manifest]
) -> tuple[tuple[MaskDiff, ...], list[str]]:
    one, other = (
        {} if manifest.is_dense else read_masks(folder / layout.MASKS)
        for folder, manifest in zip((first, second), manifests, strict=True)
    )
    together, alone = _paired(one, other, "masks")
    return tuple(_mask_diff(name, one[name], other[name]) for name in together), alone


def _mask_diff(name: str, one: Tensor, other: Tensor) -> MaskDiff:
    both, either = int((one & other).sum()), int((one | other).sum())
    return MaskDiff(name, both, int(one.sum()) - both, int(other.sum()) - both, one.numel() - either)


def _weights(first: Path, second: Path) -> tuple[tuple[WeightDiff, ...], list[str]]:
    one, other = dict(read_tensors(first / layout.WEIGHTS)), dict(read_tensors(second / layout.WEIGHTS))
    together, alone = _paired(one, other, "weights")
    return tuple(_weight_diff(name, one[name], other[name]) for name in together), alone


def _weight_diff(name: str, one: Tensor, other: Tensor) -> WeightDiff:
    if one.dtype == other.dtype and one.equal(other):
        return WeightDiff(name, True, 0.0, 0.0)
    difference, norm = other.double() - one.double(), float(one.double().norm())
    return WeightDiff(
        name, False, float(difference.abs().max()), float(difference.norm()) / norm if norm else None
    )


def _paired(one: dict[str, Tensor], other: dict[str, Tensor], kind: str) -> tuple[list[str], list[str]]:
    """Return the names whose tensors can be compared, and what is to be said of the others."""
    shaped = {name for name in one.keys() & other.keys() if one[name].shape == other[name].shape}
    said = []
    for names, where in (
        (one.keys() - other.keys(), "are only in A"),
        (other.keys() - one.keys(), "are only in B"),
        ((one.keys() & other.keys()) - shaped, "have another shape in each"),
    ):
        if names:
            said.append(f"{len(names)} {kind} {where}, {min(names)} for example")
    return [name for name in one if name in shaped], said


def _architectures(first: Path, second: Path) -> tuple[str, str]:
    configs = read_config(first), read_config(second)
    names = [model_class(config).__name__ for config in configs]
    sizes = [
        key
        for key in configs[0].keys() | configs[1].keys()
        if configs[0].get(key) != configs[1].get(key)
        and not key.endswith("_token_id")
        and any(type(config.get(key)) is int for config in configs)
    ]
    described = [
        ", ".join([name, *(f"{key} {config.get(key)}" for key in sorted(sizes))])
        for name, config in zip(names, configs, strict=True)
    ]
    return described[0], described[1]


def _recipe(first: Path, second: Path) -> tuple[str, ...]:
    one, other = (
        (folder / layout.RECIPE).read_text(encoding="utf-8", errors="replace").splitlines()
        for folder in (first, second)
    )
    return tuple(difflib.unified_diff(one, other, "A", "B", lineterm=""))


def _results(first: Manifest, second: Manifest) -> tuple[ResultDiff, ...]:
    one, other = measured_values(first), measured_values(second)
    return tuple(ResultDiff(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other]))


def _files(first: Path, second: Path) -> FilesDiff:
    # As they are, not as the manifests say: whoever compares may be after a change that they do not tell.
    one, other = (
        {name: hash_file(folder / name) for name in layout.package_files(folder)}
        for folder in (first, second)
    )
    common = one.keys() & other.keys()
    changed = sorted(name for name in common if one[name] != other[name])
    return FilesDiff(
        tuple(sorted(one.keys() - other.keys())),
        tuple(sorted(other.keys() - one.keys())),
        tuple(changed),
        len(common) - len(changed),
    )
