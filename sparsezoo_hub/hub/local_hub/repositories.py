"""The model repositories of a Hub: bare git repositories, one folder each."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.large_files import sync_folder
from sparsezoo_hub.hub.local_hub.lfs_pointer import git_attributes
from sparsezoo_hub.hub.local_hub.names import branch_ref
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, repository_not_found

DEFAULT_BRANCH = "main"
REGULAR_FILE = 0o100644
# As the client parses it.
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
AUTHOR = b"local <local@localhost>"


class Repositories:
    """All repositories under one root.

    One server process owns a root (see `root_lock`), so locks between threads are enough.

    Args:
        root: the Hub's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "models"
        self._aside = root / "aside"
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def prepare(self) -> None:
        """Create the folders, and throw away what an earlier server left half made or half deleted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._aside, ignore_errors=True)
        self._aside.mkdir(parents=True)

    def ids(self) -> list[str]:
        """Return the ids of all repositories, sorted."""
        found = self._folder.glob("*/*.git")
        return sorted(f"{path.parent.name}/{path.name.removesuffix('.git')}" for path in found)

    def create(self, repo_id: str) -> None:
        """Create a repository with one commit on `main`, which holds `.gitattributes`.

        Raises:
            RefusalError: 409, if it exists.
        """
        aside = self._aside / secrets.token_hex(16)
        with Repo.init_bare(aside, mkdir=True, default_branch=DEFAULT_BRANCH.encode()) as repo:
            config = repo.get_config()
            config.set((b"core",), b"fsyncObjectFiles", True)
            config.set((b"hub",), b"createdAt", datetime.now(UTC).strftime(DATE_FORMAT).encode())
            config.write_to_path()
        with Repo(str(aside)) as repo:
            attributes = Blob.from_string(git_attributes())
            repo.object_store.add_object(attributes)
            tree = commit_tree(repo.object_store, [(b".gitattributes", attributes.id, REGULAR_FILE)])
            write_commit(repo, branch_ref(DEFAULT_BRANCH), tree, [], "initial commit")
        path = self._path(repo_id)
        with self._lock:
            if path.exists():
                shutil.rmtree(aside)
                raise RefusalError(
                    409, f"the model repository {repo_id!r} already exists: use it, or choose another name"
                )
            path.parent.mkdir(exist_ok=True)
            aside.rename(path)
            sync_folder(path.parent)

    def delete(self, repo_id: str) -> None:
        """Delete a repository; its large files stay, since others may hold the same.

        Raises:
            RefusalError: 404, if there is none.
        """
        aside = self._aside / secrets.token_hex(16)
        with self.locked(repo_id):
            # A rename, so that a reader sees the whole repository or none.
            self._path(repo_id).rename(aside)
        shutil.rmtree(aside)

    @contextmanager
    def opened(self, repo_id: str) -> Iterator[Repo]:
        """Open a repository for reading.

        Raises:
            RefusalError: 404, if there is none.
        """
        path = self._path(repo_id)
        if not path.is_dir():
            raise repository_not_found(repo_id)
        with Repo(str(path)) as repo:
            yield repo

    @contextmanager
    def locked(self, repo_id: str) -> Iterator[Repo]:
        """Open a repository for writing, as the only writer.

        Raises:
            RefusalError: 404, if there is none.
        """
        with self._lock:
            first = repo_id not in self._locks
            lock = self._locks.setdefault(repo_id, threading.Lock())
        with lock, self.opened(repo_id) as repo:
            if first:
                remove_stale_locks(Path(repo.path))
            yield repo

    def _path(self, repo_id: str) -> Path:
        owner, name = repo_id.split("/")
        return self._folder / owner / f"{name}.git"


def remove_stale_locks(git_folder: Path) -> None:
    """Remove the lock files that git's way of writing leaves behind when the process is killed.

    Only for the one process that writes this repository, before it writes.
    """
    for folder, _, files in os.walk(git_folder):
        for file in files:
            if file.endswith(".lock"):
                Path(folder, file).unlink()


def write_commit(repo: Repo, ref: Ref, tree: ObjectID, parents: list[ObjectID], message: str) -> Commit:
    """Write a commit and move `ref` to it; every object it needs must have been written before.

    A kill at any moment leaves `ref` where it was or at the new commit. Renames reach the disk in their
    order on a journaling file system, so syncing the reference's folder at the end covers the objects too.
    """
    commit = Commit()
    commit.tree = tree
    commit.parents = parents
    commit.author = commit.committer = AUTHOR
    commit.author_time = commit.commit_time = int(time.time())
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.encode()
    repo.object_store.add_object(commit)
    repo.refs.set_if_equals(ref, None, commit.id)
    sync_folder(Path(repo.path, os.fsdecode(ref)).parent)
    return commit


def created_at(repo: Repo) -> str:
    """Return when a repository was created, in ISO 8601."""
    return repo.get_config().get((b"hub",), b"createdAt").decode()
