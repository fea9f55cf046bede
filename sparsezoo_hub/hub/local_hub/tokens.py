"""The token that writing to a Hub needs."""

import os
import secrets
from pathlib import Path

from sparsezoo_hub.errors import HubError

TOKEN_FILE = "token"  # noqa: S105 - a file's name, not a secret


def write_token(root: Path) -> str:
    """Return the write token of the Hub under `root`, and create it at first use.

    It is kept in `<root>/token`, readable by its owner only.

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


def _create_token(path: Path) -> None:
    # Written aside and linked into place, so that two first users never see half a token or two of them.
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("hf_" + secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return
    finally:
        aside.unlink()
