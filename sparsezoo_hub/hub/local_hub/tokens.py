"""The tokens of a Hub: the administrator's, and those of owners, which are kept as hashes only."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.large_files import sync_folder
from sparsezoo_hub.hub.local_hub.names import check_owner

TOKEN_FILE = "token"  # noqa: S105 - a file's name, not a secret
TOKENS_FOLDER = "tokens"
SHORT_ID = 12

TokenScope = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token.

    Args:
        id: its SHA-256 in hexadecimal.
        owner: whose repositories it opens.
        scope: "read", or "write" to change them as well.
        created_at: in ISO 8601, UTC.
    """

    id: str
    owner: str
    scope: TokenScope
    created_at: str


class Tokens:
    """The tokens of owners under one root, a file for each, named by the token's SHA-256.

    A plain hash is enough: a token is 256 random bits, so there is nothing to guess that salt or a slow
    hash would protect. Looking up by the hash takes no time that depends on the token. A server sees a
    token that another process makes or revokes with the next request.

    Args:
        root: the Hub's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / TOKENS_FOLDER

    def create(self, owner: str, scope: TokenScope) -> str:
        """Make a token and return it; it is not kept, and cannot be shown again.

        Raises:
            HubError: if `owner` cannot own repositories.
        """
        check_owner(owner)
        token = _new_token()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _give_to_owner(self._folder)
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps({"owner": owner, "scope": scope, "createdAt": created_at})
        # Written aside first: a half written file of a token's name is never there.
        aside = self._folder / f"new.{secrets.token_hex(8)}"
        _write_secret(aside, text + "\n")
        _give_to_owner(aside)
        aside.replace(self._folder / _hash_token(token))
        sync_folder(self._folder)
        return token

    def find(self, token: str) -> TokenRecord | None:
        """Return what is kept of `token`, None if it is not one of this Hub's."""
        return _read_record(self._folder / _hash_token(token))

    def records(self) -> list[TokenRecord]:
        """Return what is kept of every token, by owner and age.

        Raises:
            HubError: if there is no such root, or a file cannot be read; its token opens nothing.
        """
        if not self._folder.parent.is_dir():
            raise HubError(f"{self._folder.parent} is no folder: check --root")
        records = []
        for path in self._files():
            record = _read_record(path)
            if record is None:
                raise HubError(f"{path}: must hold a token's owner and scope, and does not: delete it")
            records.append(record)
        return sorted(records, key=lambda record: (record.owner, record.created_at, record.id))

    def revoke(self, token_or_id: str) -> TokenRecord:
        """Make a token worthless at once, and return what was kept of it.

        Args:
            token_or_id: the token itself, or the beginning of its id.

        Raises:
            HubError: if none or several tokens fit.
        """
        fitting = [record for record in self.records() if record.id == _hash_token(token_or_id)]
        if not fitting and token_or_id:
            fitting = [record for record in self.records() if record.id.startswith(token_or_id.lower())]
        if len(fitting) != 1:
            raise HubError(
                f"{len(fitting)} tokens of {self._folder.parent} have that id: give the token itself, or"
                " enough of its id as 'sparsezoo-hub serve token list' shows it"
            )
        (self._folder / fitting[0].id).unlink(missing_ok=True)
        sync_folder(self._folder)
        return fitting[0]

    def _files(self) -> list[Path]:
        # Other names are of a process that was killed while it made a token.
        return [path for path in self._folder.glob("?" * 64) if path.is_file()]


def write_token(root: Path) -> str:
    """Return the administrator's token of the Hub under `root`, and create it at first use.

    It is kept in `<root>/token`, readable by its owner only: whoever can read that can change the whole
    folder anyway.

    Raises:
        HubError: if the file is there but empty.
    """
    path = root / TOKEN_FILE
    root.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create_token(path)
    token = path.read_text(encoding="ascii").strip()
    if not token:
        raise HubError(
            f"{path}: must hold the Hub's write token, got an empty file; delete it to get a new one"
        )
    return token


def same_token(given: str, expected: str) -> bool:
    """Whether two tokens are equal, in a time that does not depend on where they differ."""
    return secrets.compare_digest(given.encode(), expected.encode())


def _new_token() -> str:
    return "hf_" + secrets.token_urlsafe(32)


def _hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read_record(path: Path) -> TokenRecord | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        owner, scope, created_at = fields["owner"], fields["scope"], fields["createdAt"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not (isinstance(owner, str) and owner and scope in get_args(TokenScope)):
        return None
    return TokenRecord(path.name, owner, scope, str(created_at))


def _create_token(path: Path) -> None:
    # Written aside and linked into place, so that two first users never see half a token or two of them.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        _write_secret(aside, _new_token() + "\n")
        try:
            os.link(aside, path)
        except FileExistsError:
            return
    finally:
        aside.unlink(missing_ok=True)


def _give_to_owner(path: Path) -> None:
    # root makes tokens for a server that runs as somebody else, and could not read them otherwise.
    if os.geteuid() == 0:
        root = path.parent.stat()
        os.chown(path, root.st_uid, root.st_gid)


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
