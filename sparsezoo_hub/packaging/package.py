"""The package: a model, sparse and locked or dense, and all that belongs to it, written to one folder."""

import platform
import stat
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import sparsezoo_hub
from sparsezoo_hub.core.lineage import ancestors, distilling_teacher, last_pruning, root_of
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.core.pattern_lock import PatternLock, lock_block
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_text import recipe_text
from sparsezoo_hub.core.sparsity_report import ComponentSparsity, overall_sparsity
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.architecture import LOCK_BLOCK
from sparsezoo_hub.packaging.compact_weights import write_compact
from sparsezoo_hub.packaging.int8_package import write_int8
from sparsezoo_hub.packaging.manifest import (
    ComponentEntry,
    Manifest,
    Measurements,
    Parents,
    QuantizationEntry,
    SparsityEntry,
    WeightSizes,
    hash_file,
    write_manifest,
)
from sparsezoo_hub.packaging.mask_file import write_masks
from sparsezoo_hub.packaging.model_card import CardSubject, render_card
from sparsezoo_hub.packaging.onnx_export import export_onnx
from sparsezoo_hub.packaging.placement import placed
from sparsezoo_hub.packaging.quantization_file import FoundRanges
from sparsezoo_hub.packaging.quiet import quiet
from sparsezoo_hub.packaging.recipe_promise import promises_pattern
from sparsezoo_hub.packaging.sparsity_plot import draw_sparsity
from sparsezoo_hub.packaging.weights_file import check_dense, measure_components

_GZIP_LEVEL = 6
_GZIP_WINDOW = 31  # zlib's way of asking for gzip's header and checksum
_CHUNK = 1 << 20
_ONE_FILE = "1000TB"  # save_pretrained splits what is larger
_LIBRARIES = (
    "huggingface_hub",
    "numpy",
    "onnx",
    "onnxruntime",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)


@dataclass(frozen=True)
class PackageContents:
    """What goes into a package.

    Args:
        model: with its pattern locked; or dense, if the recipe neither prunes nor locks it.
        tokenizer: the model's own.
        recipe: as it was run, with its provenance.
        texts: real inputs for the ONNX check, at least two of different lengths.
        measurements: what training measured; sizes and ONNX parity are filled in here.
        base_model: Hub id of the backbone, None if it has none.
        license_id: the Hub's name of the licence (``apache-2.0``), None if it is not known.
        repo_id: where the package will be published; the card's lines for loading use it.
        quantization: the ranges of the model's int8 form, None if it has none.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    texts: Sequence[str]
    measurements: Measurements
    base_model: str | None = None
    license_id: str | None = None
    repo_id: str | None = None
    quantization: FoundRanges | None = None


def write_package(folder: Path, contents: PackageContents) -> Manifest:
    """Write a package, and return its manifest.

    A model without a lock becomes a dense package if its recipe promises no pattern: no masks, no lock block
    in its config, no mask digest. With ranges it also gets the ranges' file and an int8 ONNX model.

    It is written aside and moved into place at the end: on any failure a previous package at ``folder`` is
    as it was.

    Args:
        folder: a package to replace, an empty folder, or a path where nothing is yet.
        contents: what goes into it.

    Raises:
        PackageError: if the model is not locked although its recipe prunes or locks it or its weights are
            pruned, its zeros came back to life, an ONNX export differs, the folder has other files, or the
            disk refuses.
        QuantizationError: if the ranges are those of another model.
    """
    masks = _masks(contents)
    digest = mask_digest(masks) if masks else None
    with placed(folder) as staging:
        components = _write_model(staging, contents, masks)
        measurements = _measured(staging, contents, masks)
        quantization = _quantization(staging, contents)
        sparsity = _sparsity(contents.recipe, components)
        parents = _parents(contents)
        if masks:
            draw_sparsity(
                staging / layout.SPARSITY_PLOT,
                components,
                f"{contents.recipe.name}: {sparsity.overall:.4f} of {len(components)} pruned weights is zero",
            )
        subject = CardSubject(
            recipe=contents.recipe,
            model_type=contents.model.config.model_type,
            architecture=type(contents.model).__name__,
            num_parameters=contents.model.num_parameters(),
            components=tuple(components),
            sparsity=sparsity,
            mask_digest=digest,
            parents=parents,
            measurements=measurements,
            quantization=quantization,
            repo_id=contents.repo_id,
            license_id=contents.license_id,
        )
        (staging / layout.CARD).write_bytes(render_card(subject).encode())
        manifest = Manifest(
            name=contents.recipe.name,
            created=datetime.now(UTC).replace(microsecond=0),
            files={name: hash_file(staging / name) for name in layout.package_files(staging)},
            sparsity=sparsity,
            mask_digest=digest,
            parents=parents,
            measurements=measurements,
            quantization=quantization,
            versions=_versions(),
        )
        write_manifest(staging / layout.MANIFEST, manifest)
        _open_to_readers(staging)
    return manifest


def gzip_size(path: Path) -> int:
    """Return how many bytes a file takes as gzip level 6, without writing them."""
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size += len(compressor.compress(chunk))
    return size + len(compressor.flush())


def _open_to_readers(staging: Path) -> None:
    # safetensors writes files that only their owner may read; ours have what the user's umask gives.
    mode = stat.S_IMODE((staging / layout.MANIFEST).stat().st_mode)
    for name in layout.package_files(staging):
        (staging / name).chmod(mode)


def _masks(contents: PackageContents) -> dict[str, Tensor]:
    model = contents.model
    masks = PatternLock.masks(model)
    if not masks and promises_pattern(contents.recipe):
        raise PackageError(
            f"this {type(model).__name__} is not locked, so it has no pattern to package; prune it, or lock "
            "its zeros with PatternLock.lock_from_zeros"
        )
    if not masks and getattr(model.config, LOCK_BLOCK, None) is not None:
        raise PackageError(
            f"the config of this {type(model).__name__} has {LOCK_BLOCK}, but none of its weights is locked: "
            "lock it, or take the block away with PatternLock.unlock to package it as a dense model"
        )
    revived = PatternLock.revived(model)
    if revived:
        raise PackageError(
            f"{revived} locked weights of this {type(model).__name__} are no longer zero: something wrote to "
            "them past the lock; package the model from its last checkpoint"
        )
    return {name: mask.cpu() for name, mask in masks.items()}


def _write_model(
    staging: Path, contents: PackageContents, masks: Mapping[str, Tensor]
) -> list[ComponentSparsity]:
    model = contents.model
    if masks:
        model.config.quantization_config = lock_block(masks)
    with quiet():
        model.save_pretrained(staging, max_shard_size=_ONE_FILE)
        contents.tokenizer.save_pretrained(staging)
    (staging / layout.RECIPE).write_bytes(recipe_text(contents.recipe).encode())
    if not masks:
        check_dense(staging / layout.WEIGHTS, linear_modules(model))
        return []
    write_masks(staging / layout.MASKS, masks)
    return measure_components(staging / layout.WEIGHTS, masks)


def _measured(staging: Path, contents: PackageContents, masks: Mapping[str, Tensor]) -> Measurements:
    weights = staging / layout.WEIGHTS
    parity = export_onnx(contents.model, contents.tokenizer, contents.texts, staging / layout.ONNX_FOLDER)
    return contents.measurements.model_copy(
        update={
            "sizes": WeightSizes(
                raw=weights.stat().st_size,
                gzip=gzip_size(weights),
                compact=_compact_size(weights, masks) if masks else None,
            ),
            "onnx_max_abs_diff": parity.max_abs_diff,
            "onnx_num_texts": parity.num_texts,
        }
    )


def _quantization(staging: Path, contents: PackageContents) -> QuantizationEntry | None:
    if contents.quantization is None:
        return None
    return write_int8(staging, contents.model, contents.tokenizer, contents.texts, contents.quantization)


def _compact_size(weights: Path, masks: Mapping[str, Tensor]) -> int:
    compact = weights.with_name("compact.tmp")
    size = write_compact(weights, masks, compact)
    compact.unlink()
    return size.compact


def _sparsity(recipe: Recipe, components: Sequence[ComponentSparsity]) -> SparsityEntry:
    pruning = last_pruning(ancestors(recipe))
    return SparsityEntry(
        target=None if pruning is None else max(pruning.sparsities.values()),
        overall=overall_sparsity(list(components)),
        per_component={
            each.name: ComponentEntry(numel=each.numel, zeros=each.zeros, sparsity=each.sparsity)
            for each in components
        },
    )


def _parents(contents: PackageContents) -> Parents:
    recipe = contents.recipe
    name = root_of(recipe, recipe.package)
    parent = recipe.parents[name]
    named = recipe.provenance.parents.get(name) if recipe.provenance else parent.pretrained or parent.recipe
    return Parents(
        backbone=named or f"{parent.model_type}, initialised at random",
        base_model=contents.base_model,
        teacher=distilling_teacher(ancestors(recipe)),
    )


def _versions() -> dict[str, str]:
    libraries = {library: metadata.version(library) for library in _LIBRARIES}
    return {"python": platform.python_version(), "sparsezoo_hub": sparsezoo_hub.__version__, **libraries}
