"""Import: from a folder of another maker's zoo to a verified package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsezoo_hub import __version__
from sparsezoo_hub.core.names import slug
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe import Parent, Provenance, Recipe
from sparsezoo_hub.packaging.imports.checkpoint import read_checkpoint
from sparsezoo_hub.packaging.imports.detection import FORMATS, detect_format
from sparsezoo_hub.packaging.imports.model_loading import load_decoded, load_tokenizer
from sparsezoo_hub.packaging.imports.pattern import imported_pattern
from sparsezoo_hub.packaging.imports.sparseml_folder import sparseml_recipes
from sparsezoo_hub.packaging.layout import MANIFEST
from sparsezoo_hub.packaging.manifest import Manifest, Measurements, hash_file, write_manifest
from sparsezoo_hub.packaging.package import PackageContents, write_package
from sparsezoo_hub.packaging.placement import placed
from sparsezoo_hub.packaging.verify import require_verified

# Where a package keeps the recipe that the model came with.
ORIGINAL_FOLDER = "original"
_PARENT = "original"


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Args:
        manifest: of the package.
        format: a name of ``detection.FORMATS``.
        files: the weights files that were read.
        explicit_masks: how many of the pruned weights had a mask stored; the others' pattern is their zeros.
        left_out: stored tensors that are not in the package: quantizers, teachers, unused heads.
        not_locked: tensors whose zeros are in the package, but not in its pattern.
        recipes: the recipes it came with, as files of the package.
    """

    manifest: Manifest
    format: str
    files: tuple[str, ...]
    explicit_masks: int
    left_out: tuple[str, ...]
    not_locked: tuple[str, ...]
    recipes: tuple[str, ...]


def import_folder(folder: Path, out: Path, texts: Sequence[str], name: str | None = None) -> Imported:
    """Make a verified package of a model in another maker's format.

    It is written aside and moved into place once it is verified, ONNX included.

    Args:
        folder: a checkpoint of one of ``detection.FORMATS``, with its config and tokenizer.
        out: a package to replace, an empty folder, or a path where nothing is yet.
        texts: real inputs for the ONNX check, at least two of different lengths.
        name: of the package; that of the folder by default.

    Raises:
        PackageError: if the checkpoint cannot be read, is not whole, or disagrees with itself, or the package
            cannot be written or verified; ``out`` is then as it was.
    """
    checkpoint = read_checkpoint(folder)
    found = detect_format(checkpoint)
    decoded = FORMATS[found].decode(checkpoint)
    model, unused = load_decoded(checkpoint, decoded)
    tokenizer = load_tokenizer(checkpoint, model)
    masks, not_locked = imported_pattern(model, decoded.masks, str(checkpoint.folder))
    if masks:
        PatternLock.prune(model, masks)
    originals = {f"{ORIGINAL_FOLDER}/{path.name}": path for path in sparseml_recipes(checkpoint)}
    explicit = sum(any(each.endswith(component) for each in decoded.masks) for component in masks)
    pattern = _pattern_words(len(masks), explicit, not_locked)
    source, revision = _source(folder)
    parent = Parent(model_type=model.config.model_type, pretrained=source, revision=revision)
    recipe = _recipe(slug(name or source), parent, FORMATS[found].words, pattern, tuple(originals))
    with placed(out) as staging:
        base_model = source if revision else None
        contents = PackageContents(model, tokenizer, recipe, texts, Measurements(), base_model)
        manifest = _with_files(staging, write_package(staging, contents), originals)
        require_verified(staging, onnx=True)
    return Imported(
        manifest,
        found,
        checkpoint.files,
        explicit,
        (*decoded.left_out, *unused),
        not_locked,
        tuple(originals),
    )


def _source(folder: Path) -> tuple[str, str | None]:
    """Return what a folder is called; one of the Hub's cache by its repository, and its commit."""
    path = folder.resolve()
    repository = path.parent.parent.name
    if path.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/"), path.name
    return path.name, None


def _recipe(name: str, parent: Parent, words: str, pattern: str, originals: tuple[str, ...]) -> Recipe:
    origin = f"{parent.pretrained}{f' at {parent.revision}' if parent.revision else ''}, {words}"
    kept = f" The recipe that it came with is in {' and '.join(originals)}." if originals else ""
    return Recipe(
        name=name,
        summary=f"Imported from {origin}. {pattern}{kept} Nothing of its training was measured here.",
        parents={_PARENT: parent},
        stages=(),
        package=_PARENT,
        provenance=Provenance(
            parents={_PARENT: f"imported from {origin}"},
            data={},
            precision="not known",
            versions={"sparsezoo_hub": __version__},
        ),
    )


def _pattern_words(num_masks: int, explicit: int, not_locked: tuple[str, ...]) -> str:
    if num_masks == 0:
        words = "No weight of it is pruned."
    elif explicit == num_masks:
        words = "Its pattern is that of its masks."
    elif explicit == 0:
        words = "Its pattern is where its weights are 0."
    else:
        words = (
            f"Its pattern is that of {explicit} masks, and the zeros of {num_masks - explicit} other weights."
        )
    if not_locked:
        words += f" The masks of {', '.join(not_locked)} are not part of it: those zeros may train away."
    return words


def _with_files(folder: Path, manifest: Manifest, files: Mapping[str, Path]) -> Manifest:
    """Add files to a package, and return its new manifest."""
    for name, path in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    added = {name: hash_file(folder / name) for name in files}
    complete = manifest.model_copy(update={"files": {**manifest.files, **added}})
    write_manifest(folder / MANIFEST, complete)
    return complete
