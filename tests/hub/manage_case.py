"""Packages that differ in one thing."""

import hashlib
import shutil
from pathlib import Path

from packaging_case import rehashed

from sparsezoo_hub.packaging.manifest import Manifest, read_manifest


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".gitattributes"
    }


def manifest_of(folder: Path) -> Manifest:
    return read_manifest(folder / "manifest.json")


def variant(package: Path, folder: Path, edits: dict[str, tuple[str, str]], **changes: object) -> Path:
    """A copy with other words in its texts, and a manifest that fits them."""
    shutil.copytree(package, folder)
    for name, (before, after) in edits.items():
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after))
    rehashed(folder, **changes)
    return folder


def lowered(package: Path, folder: Path) -> Path:
    """A copy whose recipe wants less, by less than one element of any weight."""
    sparsity = manifest_of(package).sparsity.model_copy(update={"target": 0.8995})
    wanted = {"recipe.yaml": ("final_sparsity: 0.9", "final_sparsity: 0.8995")}
    return variant(package, folder, wanted, sparsity=sparsity)
