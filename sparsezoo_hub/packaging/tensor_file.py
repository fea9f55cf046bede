"""Tensor files: a safetensors file as a whole, its metadata and all of its tensors."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sparsezoo_hub.errors import PackageError


def read_tensor_file(path: Path, what: str, remedy: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a file, which stays mapped while they are used.

    Args:
        path: the file.
        what: it should be, for the message.
        remedy: what to do if it is not.

    Raises:
        PackageError: if the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise PackageError(f"{path} cannot be read as {what}: {error}; {remedy}") from None
