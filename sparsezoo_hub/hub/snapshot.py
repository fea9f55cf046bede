"""Snapshots: a package wherever it is, as a folder to read."""

from pathlib import Path

from huggingface_hub import HfApi

from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.packaging.layout import COMPACT_FOLDER


def split_reference(reference: str) -> tuple[str, str | None]:
    """Return the repository and the revision of ``owner/name@revision``; None if it names no revision."""
    repo_id, _, revision = reference.partition("@")
    return repo_id, revision or None


def local_folder(
    reference: str, *, revision: str | None = None, token: str | None = None, endpoint: str | None = None
) -> Path:
    """Return ``reference`` itself if it is a folder, else the Hub repository's files in the client's cache.

    Args:
        reference: a folder, ``owner/name`` or ``owner/name@revision``.
        revision: branch, tag or commit on the Hub, where the reference names none.
        token: for private repositories.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.

    Raises:
        HubError: if it is no folder, and the Hub does not have it or does not answer.
    """
    if Path(reference).is_dir():
        return Path(reference)
    repo_id, named = split_reference(reference)
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    with one_line_refusals(f"{reference} is no folder here; download", api.endpoint):
        return Path(
            api.snapshot_download(repo_id, revision=named or revision, ignore_patterns=f"{COMPACT_FOLDER}/*")
        )
