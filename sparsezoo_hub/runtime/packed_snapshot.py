"""Packed snapshots: where a repository or a folder has a packed model, with nothing else fetched."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file, cached_files

from sparsezoo_hub.packaging.layout import CONFIG, EXPORT, QUANTIZATION, SPARSE_FOLDER
from sparsezoo_hub.runtime.packed_model import EXPORT_FORMAT, PACKED_FILE

# What says where to fetch from; everything else says how to make a model.
FETCHING = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


def find_packed(reference: str | Path, fetching: Mapping[str, Any]) -> Path | None:
    """Return the packed file of a model, fetched if it is on a Hub; None if it has none.

    Args:
        reference: a folder or a Hub id that is a packed model itself, or has one in ``sparse/``.
        fetching: of ``FETCHING``, as ``from_pretrained`` takes them.

    Raises:
        OSError: if there is a packed model, and a file of it is missing or cannot be fetched.
    """
    asked = str(fetching.get("subfolder") or "")
    for subfolder in (asked, f"{asked}/{SPARSE_FOLDER}" if asked else SPARSE_FOLDER):
        where = {**fetching, "subfolder": subfolder}
        manifest = _optional(reference, EXPORT, where)
        if manifest is not None and _is_sparse(manifest):
            _, path = cached_files(reference, [CONFIG, PACKED_FILE], **where) or (None, None)
            return None if path is None else Path(path)
    return None


def find_ranges(reference: str | Path, fetching: Mapping[str, Any]) -> Path | None:
    """Return the file of int8 ranges beside a model's weights, fetched if need be; None if there is none."""
    return _optional(reference, QUANTIZATION, fetching)


def _optional(reference: str | Path, name: str, fetching: Mapping[str, Any]) -> Path | None:
    # Without a connection, what is in the cache counts; the model itself is then looked for likewise.
    path = cached_file(
        reference,
        name,
        **fetching,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else Path(path)


def _is_sparse(manifest: Path) -> bool:
    try:
        content = json.loads(manifest.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("export_format") == EXPORT_FORMAT
