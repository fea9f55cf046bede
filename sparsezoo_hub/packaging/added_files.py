"""Added files: a folder that is put into a finished package, and listed in its manifest."""

from pathlib import Path

from sparsezoo_hub.packaging import layout
from sparsezoo_hub.packaging.manifest import Manifest, hash_file, read_manifest, write_manifest


def list_added(package: Path, folder: str) -> Manifest:
    """List the files of a folder in the manifest of its package, in place of what was listed there.

    Args:
        package: that has the folder.
        folder: its name, ``sparse``.

    Raises:
        PackageError: if ``package`` is none.
    """
    before = read_manifest(package / layout.MANIFEST)
    inside = f"{folder}/"
    files = {name: entry for name, entry in before.files.items() if not name.startswith(inside)}
    added = (name for name in layout.package_files(package) if name.startswith(inside))
    manifest = before.model_copy(
        update={"files": files | {name: hash_file(package / name) for name in added}}
    )
    aside = package / f".{layout.MANIFEST}"
    write_manifest(aside, manifest)
    aside.replace(package / layout.MANIFEST)
    return manifest
