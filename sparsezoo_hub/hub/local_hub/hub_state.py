"""What every route of one Hub shares."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.models import ModelIndex
from sparsezoo_hub.hub.local_hub.repositories import Repositories


@dataclass(frozen=True, slots=True)
class HubState:
    """One Hub.

    Args:
        token: what a client must send to write.
        repositories: its git repositories.
        large_files: its large files.
        models: the index for searches.
        upload_key: signs the addresses that large files are uploaded to; lives as long as the process.
    """

    token: str
    repositories: Repositories
    large_files: LargeFiles
    models: ModelIndex
    upload_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)


def open_hub(root: Path, token: str) -> HubState:
    """Return the Hub under `root`, ready to be served; folders that are missing are created."""
    repositories, large_files = Repositories(root), LargeFiles(root)
    repositories.prepare()
    large_files.prepare()
    return HubState(token, repositories, large_files, ModelIndex(repositories))
