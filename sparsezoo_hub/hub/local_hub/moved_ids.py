"""Where repositories went that have another id now."""

import os
import secrets
from pathlib import Path

from sparsezoo_hub.hub.local_hub.large_files import sync_folder


class MovedIds:
    """The old ids of moved repositories, a file for each, which holds the next id.

    Args:
        root: the Hub's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "moved"
        self._aside = root / "aside"

    def note(self, repo_id: str, new_id: str) -> None:
        """Write down, for good, where `repo_id` goes."""
        note = self._folder / repo_id
        aside = self._aside / secrets.token_hex(16)
        with aside.open("x", encoding="ascii") as file:
            file.write(new_id)
            file.flush()
            os.fsync(file.fileno())
        note.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(note)
        sync_folder(note.parent)

    def forget(self, repo_id: str) -> None:
        """Let `repo_id` lead nowhere any more."""
        (self._folder / repo_id).unlink(missing_ok=True)

    def next_id(self, repo_id: str) -> str | None:
        """Return where `repo_id` went, None if that is not known."""
        try:
            new_id = (self._folder / repo_id).read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
        return new_id if new_id.count("/") == 1 else None
