"""Snapshots: a package wherever it is, as a folder to read."""

from pathlib import Path

from huggingface_hub import HfApi

from sparsezoo_hub.hub.refusals import one_line_refusals


def local_folder(reference: str, *, revision: str | None = None, token: str | None = None) -> Path:
    """Return ``reference`` itself if it is a folder, else the Hub repository's files in the client's cache.

    Args:
        reference: a folder or ``owner/name``.
        revision: branch, tag or commit on the Hub.
        token: for private repositories.

    Raises:
        HubError: if it is no folder, and the Hub does not have it or does not answer.
    """
    if Path(reference).is_dir():
        return Path(reference)
    api = HfApi(token=token, library_name="sparsezoo_hub")
    with one_line_refusals(f"{reference} is no folder here; download", api.endpoint):
        return Path(api.snapshot_download(reference, revision=revision))
