"""Detection: which format a checkpoint is in, told by the names of its tensors and by its recipe."""

from collections.abc import Callable
from dataclasses import dataclass

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.imports.checkpoint import Checkpoint
from sparsezoo_hub.packaging.imports.decoded import Decoded
from sparsezoo_hub.packaging.imports.intel_labs import decode_intel_labs, is_intel_labs
from sparsezoo_hub.packaging.imports.sparse_bitmask import decode_sparse_bitmask, is_sparse_bitmask
from sparsezoo_hub.packaging.imports.sparseml_folder import decode_sparseml_folder, is_sparseml_folder
from sparsezoo_hub.packaging.imports.torch_prune import decode_torch_prune, is_torch_prune


@dataclass(frozen=True)
class Format:
    """A format: what it is called in a sentence, how it is told, how it is read."""

    words: str
    recognises: Callable[[Checkpoint], bool]
    decode: Callable[[Checkpoint], Decoded]


# How weights are stored: a checkpoint has at most one of these.
_STORED: dict[str, Format] = {
    "intel-labs": Format(
        "a checkpoint of IntelLabs' Model-Compression-Research-Package", is_intel_labs, decode_intel_labs
    ),
    "torch-prune": Format("a state dict of torch.nn.utils.prune", is_torch_prune, decode_torch_prune),
    "sparse-bitmask": Format(
        "a sparse-bitmask checkpoint of compressed-tensors", is_sparse_bitmask, decode_sparse_bitmask
    ),
}
# By name, in the order they are tried. A folder of SparseML may also have its weights compressed.
FORMATS: dict[str, Format] = {
    **_STORED,
    "sparseml": Format("a training folder of SparseML", is_sparseml_folder, decode_sparseml_folder),
    "zeros": Format(
        "a plain checkpoint with zeros",
        lambda _checkpoint: True,
        lambda checkpoint: Decoded(checkpoint.tensors, {}),
    ),
}


def detect_format(checkpoint: Checkpoint) -> str:
    """Return the name in ``FORMATS`` of the checkpoint's format.

    Raises:
        PackageError: if weights are stored in two ways at once.
    """
    stored = [name for name, each in _STORED.items() if each.recognises(checkpoint)]
    if len(stored) > 1:
        raise PackageError(
            f"{checkpoint.folder} has tensors of {' and of '.join(stored)} at once: keep the files of one "
            "model"
        )
    return next(name for name, each in FORMATS.items() if each.recognises(checkpoint))
