"""What every route of one Hub shares."""

import hmac
from dataclasses import dataclass, field
from pathlib import Path

from sparsezoo_hub.hub.local_hub.accounts import NOBODY, Account
from sparsezoo_hub.hub.local_hub.file_sizes import LARGEST_FILE
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.models import ModelIndex
from sparsezoo_hub.hub.local_hub.names import OWN_NAME
from sparsezoo_hub.hub.local_hub.partial_files import PartialFiles
from sparsezoo_hub.hub.local_hub.repositories import Repositories
from sparsezoo_hub.hub.local_hub.tokens import Tokens, same_token

ADMINISTRATOR = Account(OWN_NAME, can_write=True, is_administrator=True)


@dataclass(frozen=True, slots=True)
class HubState:
    """One Hub.

    Args:
        root: its folder.
        token: the administrator's.
        tokens: those of the owners.
        repositories: its git repositories.
        large_files: its large files.
        partial_files: those that arrive in parts.
        models: the index for searches.
        largest_file: how many bytes a file may have.
        upload_key: signs the addresses that large files are uploaded to; the same after a restart.
    """

    root: Path
    token: str = field(repr=False)
    tokens: Tokens
    repositories: Repositories
    large_files: LargeFiles
    partial_files: PartialFiles
    models: ModelIndex
    largest_file: int
    upload_key: bytes = field(repr=False)

    def find_account(self, token: str) -> Account:
        """Return whose `token` it is, `NOBODY` if it is nobody's here."""
        if same_token(token, self.token):
            return ADMINISTRATOR
        record = self.tokens.find(token)
        return NOBODY if record is None else Account(record.owner, can_write=record.scope == "write")


def open_hub(root: Path, token: str, *, largest_file: int = LARGEST_FILE) -> HubState:
    """Return the Hub under `root`, ready to be served; folders that are missing are created."""
    repositories, large_files = Repositories(root), LargeFiles(root)
    repositories.prepare()
    large_files.prepare()
    return HubState(
        root=root,
        token=token,
        tokens=Tokens(root),
        repositories=repositories,
        large_files=large_files,
        partial_files=PartialFiles(root, large_files),
        models=ModelIndex(repositories),
        largest_file=largest_file,
        # From what only the Hub knows: an upload that a restart has broken goes on at its old addresses.
        upload_key=hmac.digest(token.encode(), b"upload addresses", "sha256"),
    )
