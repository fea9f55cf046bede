"""Contents: the files of a revision, told apart by their hashes without reading them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from sparsezoo_hub.hub.one_commit import ATTRIBUTES
from sparsezoo_hub.packaging.manifest import hash_file


@dataclass(frozen=True)
class Stored:
    """A file as a Hub names its content: SHA-256 if it is kept as a large file, else git's SHA-1."""

    size: int
    sha256: str | None
    git_oid: str | None

    def may_be(self, other: "Stored") -> bool | None:
        """Return whether two files are the same; None if one is kept as a large file and the other is not."""
        if self.size != other.size:
            return False
        if self.sha256 is not None and other.sha256 is not None:
            return self.sha256 == other.sha256
        if self.git_oid is not None and other.git_oid is not None:
            return self.git_oid == other.git_oid
        return None

    def is_content_of(self, path: Path) -> bool:
        """Return whether the file at ``path`` is this one."""
        if self.sha256 is not None:
            return hash_file(path).sha256 == self.sha256
        return _git_oid(path) == self.git_oid


def stored_files(api: HfApi, repo_id: str, revision: str) -> dict[str, Stored]:
    """Return the files of a revision by path, without the Hub's own ``.gitattributes``."""
    return {
        entry.path: Stored(entry.size, entry.lfs.sha256, None)
        if entry.lfs is not None
        else Stored(entry.size, None, entry.blob_id)
        for entry in api.list_repo_tree(repo_id, recursive=True, revision=revision)
        if isinstance(entry, RepoFile) and entry.path != ATTRIBUTES
    }


def _git_oid(path: Path) -> str:
    content = path.read_bytes()  # never a large file: those have a SHA-256
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
