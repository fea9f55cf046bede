"""Which large files a repository may use.

Large files are kept once for the whole Hub, so knowing a SHA-256 must not be enough to get at a file that
lies in somebody else's private repository. A repository may use those whose pointer is among its git
objects: a commit puts it there, and so does an upload, which has proven that its sender has the content.
"""

from pathlib import Path

from dulwich.objects import Blob
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer


class HeldFiles(LargeFiles):
    """The large files as one repository sees them: the others are as good as not there.

    Args:
        root: the Hub's folder.
        repo: the repository.
    """

    def __init__(self, root: Path, repo: Repo) -> None:
        super().__init__(root)
        self._objects = repo.object_store

    def size(self, sha256: str) -> int | None:
        """Return the length in bytes of the file with this digest, None if the repository has it not."""
        size = super().size(sha256)
        if size is None:
            return None
        return size if _pointer_blob(LfsPointer(sha256, size)).id in self._objects else None


def hold_file(repo: Repo, pointer: LfsPointer) -> None:
    """Let a repository, which must be locked for writing, use a large file that was uploaded for it."""
    repo.object_store.add_object(_pointer_blob(pointer))


def _pointer_blob(pointer: LfsPointer) -> Blob:
    return Blob.from_string(pointer.to_bytes())
