"""Verification: whether a package is what its manifest, its config and its recipe promise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core.lineage import ancestors, last_pruning
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.core.pattern_lock import lock_block
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.sparsity_report import ComponentSparsity, overall_sparsity
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.errors import PackageError, SparseZooError, VerificationError
from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.architecture import LOCK_BLOCK, bare_model, model_class, read_config
from sparsezoo_hub.packaging.card_claims import check_claims
from sparsezoo_hub.packaging.card_metadata import check_card
from sparsezoo_hub.packaging.int8_package import check_int8, check_ranges
from sparsezoo_hub.packaging.int8_parity import check_onnx_int8
from sparsezoo_hub.packaging.manifest import ComponentEntry, Manifest, hash_file, read_manifest
from sparsezoo_hub.packaging.mask_file import read_masks
from sparsezoo_hub.packaging.onnx_export import check_onnx
from sparsezoo_hub.packaging.quantization_file import read_ranges
from sparsezoo_hub.packaging.quiet import quiet
from sparsezoo_hub.packaging.recipe_file import read_recipe
from sparsezoo_hub.packaging.recipe_promise import check_promise, promises_pattern
from sparsezoo_hub.packaging.weights_file import check_dense, measure_components

# Inputs for the ONNX check where the texts of the packaging are not at hand.
SENTENCES = (
    "A pruned weight stays zero.",
    "The library keeps one copy of every file it was given, and hands out the same copy to all readers.",
    "Why?",
    "When the last of the guests had gone, she opened the window, put out the lamp and listened to the rain "
    "on the roof until it stopped, which was not before morning.",
    "Functions return values; procedures do not.",
    "Two and two make four, as long as nobody asks for their units.",
)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: ``detail`` says what was found, or what is wrong."""

    name: str
    ok: bool
    detail: str


@dataclass
class _Opened:
    """A package as far as it could be read."""

    folder: Path
    manifest: Manifest
    masks: dict[str, Tensor]
    components: list[ComponentSparsity]
    recipe: Recipe
    config: dict[str, Any]

    @cached_property
    def loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model and its tokenizer, as transformers loads them."""
        with quiet():
            return (
                model_class(self.config).from_pretrained(self.folder, local_files_only=True),
                AutoTokenizer.from_pretrained(self.folder, local_files_only=True),
            )


def verify_package(folder: Path, *, onnx: bool = False) -> list[Check]:
    """Return what was checked, and whether it holds.

    Args:
        folder: a package; on disk only, no Hub is asked.
        onnx: also run the ONNX file against PyTorch, which takes some seconds.

    Returns:
        The checks in order. Those on the content are left out if the files are not those of the manifest.
    """
    checks = [_check("manifest", lambda: _manifest_detail(folder))]
    if checks[0].ok:
        manifest = read_manifest(folder / layout.MANIFEST)
        checks += [
            _check("files", lambda: _files_detail(folder, manifest)),
            _check("hashes", lambda: _hashes_detail(folder, manifest)),
        ]
    if all(check.ok for check in checks):
        checks += _content_checks(folder, onnx)
    return checks


def require_verified(folder: Path, *, onnx: bool = False) -> Manifest:
    """Return the manifest of a package that passes every check.

    Raises:
        VerificationError: if one does not; says which.
    """
    failed = [check for check in verify_package(folder, onnx=onnx) if not check.ok]
    if failed:
        more = f" (and {len(failed) - 1} more checks failed)" if len(failed) > 1 else ""
        raise VerificationError(f"{folder} fails verification at {failed[0].name}: {failed[0].detail}{more}")
    return read_manifest(folder / layout.MANIFEST)


def _check(name: str, detail: Callable[[], str]) -> Check:
    try:
        return Check(name, True, detail())
    except SparseZooError as error:
        return Check(name, False, " ".join(str(error).split()))
    except OSError as error:
        return Check(name, False, f"{error.filename or name} cannot be read: {error.strerror or error}")


def _content_checks(folder: Path, onnx: bool) -> Iterator[Check]:
    manifest = read_manifest(folder / layout.MANIFEST)
    opened: list[_Opened] = []

    def read() -> str:
        package = _open(folder, manifest)
        opened.append(package)
        if manifest.is_dense:
            return "no pruned weight: the package is dense"
        return f"{len(package.masks)} pruned weights, exactly 0.0 under their masks"

    yield _check("zeros", read)
    content: Sequence[tuple[str, Callable[[_Opened], str]]] = (
        ("digest", _digest_detail),
        ("sparsity", _sparsity_detail),
        ("recipe", _recipe_detail),
        ("card", _card_detail),
        *(_QUANTIZATION_CHECKS if manifest.quantization else ()),
        *((("onnx", _onnx_detail),) if onnx else ()),
        *((("onnx-int8", _onnx_int8_detail),) if onnx and manifest.quantization else ()),
    )
    for name, detail in content if opened else ():
        yield _check(name, lambda detail=detail: detail(opened[0]))  # type: ignore[misc]


def _open(folder: Path, manifest: Manifest) -> _Opened:
    weights = folder / layout.WEIGHTS
    masks: dict[str, Tensor] = {}
    if not manifest.is_dense:
        masks = read_masks(folder / layout.MASKS)
        if not masks:
            raise PackageError(
                f"{layout.MASKS} has no mask, the manifest has a digest; package the model again"
            )
    components = measure_components(weights, masks)
    package = _Opened(folder, manifest, masks, components, read_recipe(folder), read_config(folder))
    if manifest.is_dense:
        check_dense(weights, linear_modules(bare_model(folder)))
    return package


def _manifest_detail(folder: Path) -> str:
    if not folder.is_dir():
        raise PackageError(f"{folder} is no folder: name a package's folder")
    manifest = read_manifest(folder / layout.MANIFEST)
    return f"{manifest.name} of {manifest.created.isoformat()}"


def _files_detail(folder: Path, manifest: Manifest) -> str:
    present = set(layout.package_files(folder)) - {layout.MANIFEST}
    problems = [
        *(f"{name} is missing" for name in sorted(manifest.files.keys() - present)),
        *(f"{name} is not in the manifest" for name in sorted(present - manifest.files.keys())),
        *(f"{name} is not named by the manifest" for name in _required(manifest) if _unnamed(name, manifest)),
        *(
            f"{name} is of a pattern, but the manifest has no mask digest"
            for name in layout.PATTERN_FILES
            if manifest.is_dense and name in manifest.files
        ),
        *(
            f"{name} is of int8, but the manifest has no quantization"
            for name in layout.INT8_FILES
            if manifest.quantization is None and name in manifest.files
        ),
    ]
    if problems:
        raise PackageError(f"{'; '.join(problems)}; fetch or package it again")
    return f"{len(present) + 1} files, as the manifest names them"


def _required(manifest: Manifest) -> tuple[str, ...]:
    int8 = manifest.quantization is not None
    sparse = any(name in manifest.files for name in layout.SPARSE_FILES)
    return layout.required_files(dense=manifest.is_dense, int8=int8, sparse=sparse)


def _unnamed(name: str, manifest: Manifest) -> bool:
    return name != layout.MANIFEST and name not in manifest.files


def _hashes_detail(folder: Path, manifest: Manifest) -> str:
    changed = [
        name
        for name, entry in manifest.files.items()
        if (folder / name).is_file() and hash_file(folder / name) != entry
    ]
    if changed:
        raise PackageError(f"changed after packaging: {', '.join(changed)}; fetch or package it again")
    return f"SHA-256 and size of {len(manifest.files)} files"


def _digest_detail(package: _Opened) -> str:
    if package.manifest.is_dense:
        if LOCK_BLOCK in package.config:
            raise PackageError(
                f"{layout.CONFIG} has {LOCK_BLOCK}, but the manifest has no mask digest: a dense model has "
                "neither; package it again"
            )
        return f"none, neither in {layout.CONFIG} nor in {layout.MANIFEST}"
    digest = mask_digest(package.masks)
    if digest != package.manifest.mask_digest:
        raise PackageError(
            f"the masks have digest {digest}, the manifest says {package.manifest.mask_digest}"
        )
    expected = lock_block(package.masks)
    block = package.config.get(LOCK_BLOCK)
    if block != expected:
        raise PackageError(f"{layout.CONFIG}: {LOCK_BLOCK} must be {expected}, got {block}")
    return f"{digest} in {layout.MASKS}, {layout.CONFIG} and {layout.MANIFEST}"


def _sparsity_detail(package: _Opened) -> str:
    promised = package.manifest.sparsity
    measured = {
        each.name: ComponentEntry(numel=each.numel, zeros=each.zeros, sparsity=each.sparsity)
        for each in package.components
    }
    if measured != promised.per_component:
        names = measured.keys() | promised.per_component.keys()
        differing = sorted(name for name in names if measured.get(name) != promised.per_component.get(name))
        raise PackageError(f"counted zeros differ from the manifest in {len(differing)}: {differing[0]}")
    overall = overall_sparsity(package.components)
    if overall != promised.overall:
        raise PackageError(f"overall sparsity is {overall}, the manifest says {promised.overall}")
    if package.manifest.is_dense:
        return "none, and none is promised"
    return f"{overall:.6f} over {len(measured)} pruned weights, as counted"


def _recipe_detail(package: _Opened) -> str:
    if package.manifest.is_dense and promises_pattern(package.recipe):
        raise PackageError(
            f"the recipe {package.recipe.name} prunes or locks the model, but the package is dense: its "
            "pattern is lost"
        )
    pruning = last_pruning(ancestors(package.recipe))
    target = None if pruning is None else max(pruning.sparsities.values())
    if target != package.manifest.sparsity.target:
        raise PackageError(
            f"the recipe's target is {target}, the manifest says {package.manifest.sparsity.target}"
        )
    if package.manifest.is_dense:
        return f"{package.recipe.name}: prunes nothing and locks nothing"
    if pruning is None:
        return "prunes nothing itself: the pattern came with the backbone"
    promise = check_promise(pruning, bare_model(package.folder), package.components, package.masks)
    return f"{package.recipe.name}: {promise}"


def _card_detail(package: _Opened) -> str:
    path = package.folder / layout.CARD
    data = check_card(path, sparse=not package.manifest.is_dense)
    check_claims(path, data, package.manifest.measurements.results)
    return f"loads, task {data.get('pipeline_tag')}, base model {data.get('base_model')}"


def _ranges_detail(package: _Opened) -> str:
    assert package.manifest.quantization is not None  # noqa: S101 - for the type checker
    return check_ranges(package.folder, package.manifest.quantization)


def _onnx_detail(package: _Opened) -> str:
    model, tokenizer = package.loaded
    parity = check_onnx(model, tokenizer, SENTENCES, package.folder / layout.ONNX_MODEL)
    return f"differs from PyTorch by at most {parity.max_abs_diff:.3g} on {parity.num_texts} sentences"


def _onnx_int8_detail(package: _Opened) -> str:
    model, tokenizer = package.loaded
    ranges = read_ranges(package.folder / layout.QUANTIZATION).ranges
    parity = check_onnx_int8(model, ranges, tokenizer, SENTENCES, package.folder / layout.ONNX_INT8_MODEL)
    return (
        f"differs from PyTorch's int8 by {parity.mean_difference:.3g} standard deviations in the mean on "
        f"{parity.num_texts} sentences, int8 from float by {parity.rounding:.3g}"
    )


_QUANTIZATION_CHECKS: tuple[tuple[str, Callable[[_Opened], str]], ...] = (
    ("ranges", _ranges_detail),
    ("int8", lambda package: check_int8(package.folder, package.masks)),
)
