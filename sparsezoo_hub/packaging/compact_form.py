"""The compact form of a package: its large files as they travel, beside the small ones as they are.

The weights travel as kept values and mask bits, the ONNX models as what the weights file does not have. Every
file comes back bit for bit, which the hashes of the manifest tell.
"""

import shutil
from pathlib import Path

from sparsezoo_hub.packaging.compact_onnx import expand_compact_onnx, write_compact_onnx
from sparsezoo_hub.packaging.compact_weights import CompactSize, expand_compact, write_compact
from sparsezoo_hub.packaging.layout import COMPACT_FILES, COMPACT_FOLDER, MASKS, WEIGHTS
from sparsezoo_hub.packaging.mask_file import read_masks


def write_compact_form(package: Path, out: Path) -> dict[str, CompactSize]:
    """Write the compact form of a sparse package's large files.

    Args:
        package: a package with masks; it is only read.
        out: a folder; the files go to their places under its ``compact``.

    Returns:
        The sizes by the name of the file that is made compact.

    Raises:
        PackageError: if a file cannot be read, or the weights are not zero where the masks say so.
    """
    (out / COMPACT_FOLDER).mkdir()
    weights = package / WEIGHTS
    sizes = {}
    for name, compact in COMPACT_FILES.items():
        if name == WEIGHTS:
            sizes[name] = write_compact(weights, read_masks(package / MASKS), out / compact)
        elif (package / name).is_file():
            sizes[name] = write_compact_onnx(package / name, weights, out / compact)
    return sizes


def expand_compact_form(folder: Path) -> None:
    """Put every large file in its place, and take the compact ones away.

    Args:
        folder: a package as it travelled, with the files under ``compact`` in place of the large ones.

    Raises:
        PackageError: if a compact file is malformed or damaged; it is not expanded then.
    """
    for name, compact in COMPACT_FILES.items():  # the weights first: the others refer to them
        if (folder / compact).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name == WEIGHTS:
                expand_compact(folder / compact, folder / name)
            else:
                expand_compact_onnx(folder / compact, folder / WEIGHTS, folder / name)
    shutil.rmtree(folder / COMPACT_FOLDER, ignore_errors=True)
