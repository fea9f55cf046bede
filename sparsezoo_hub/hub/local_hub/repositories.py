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

from dulwich.config import ConfigFile
from dulwich.errors import NotGitRepository
from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.durable_references import move_reference, open_durably
from sparsezoo_hub.hub.local_hub.large_files import sync_folder
from sparsezoo_hub.hub.local_hub.lfs_pointer import git_attributes
from sparsezoo_hub.hub.local_hub.moved_ids import MovedIds
from sparsezoo_hub.hub.local_hub.names import OWN_NAME, branch_ref
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, repository_not_found

DEFAULT_BRANCH = "main"
REGULAR_FILE = 0o100644
# As the client parses it.
DATE_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
CREATED_AT = (b"hub",), b"createdAt"
VISIBILITY = (b"hub",), b"visibility"
PUBLIC = b"public"
AUTHOR = b"local <local@localhost>"


class Repositories:
    """All repositories under one root.

    One server process owns a root (see `root_lock`), so locks between threads are enough.

    Args:
        root: the Hub's folder.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "models"
        self._moved = MovedIds(root)
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

    def create(self, repo_id: str, *, private: bool = False) -> None:
        """Create a repository with one commit on `main`, which holds `.gitattributes`.

        Args:
            repo_id: its id.
            private: whether only its owner may see it.

        Raises:
            RefusalError: 409, if it exists.
        """
        aside = self._aside / secrets.token_hex(16)
        with Repo.init_bare(aside, mkdir=True, default_branch=DEFAULT_BRANCH.encode()) as repo:
            config = repo.get_config()
            config.set(*CREATED_AT, datetime.now(UTC).strftime(DATE_FORMAT).encode())
            config.set(*VISIBILITY, b"private" if private else PUBLIC)
            config.write_to_path()
        with open_durably(aside) as repo:
            attributes = Blob.from_string(git_attributes())
            repo.object_store.add_object(attributes)
            tree = commit_tree(repo.object_store, [(b".gitattributes", attributes.id, REGULAR_FILE)])
            write_commit(repo, branch_ref(DEFAULT_BRANCH), tree, [], "initial commit")
        self._place(aside, repo_id)

    def duplicate(self, repo_id: str, new_id: str, *, private: bool) -> None:
        """Create a repository that has the branches, tags and history of another, and none of its talk.

        Args:
            repo_id: what is copied.
            new_id: the id of the copy.
            private: whether only its owner may see the copy.

        Raises:
            RefusalError: 404, if there is none; 409, if the new id is taken.
        """
        aside = self._aside / secrets.token_hex(16)
        with self.locked(repo_id) as repo:
            shutil.copytree(repo.path, aside)
        shutil.rmtree(aside / "discussions", ignore_errors=True)
        with Repo(str(aside)) as copy:
            for ref in copy.refs.allkeys():
                if ref.startswith(b"refs/pr/"):
                    copy.refs.remove_if_equals(ref, None)
            config = copy.get_config()
            config.set(*CREATED_AT, datetime.now(UTC).strftime(DATE_FORMAT).encode())
            config.set(*VISIBILITY, b"private" if private else PUBLIC)
            config.write_to_path()
        # Thousands of small files: one wait for the disk instead of one each.
        os.sync()
        self._place(aside, new_id)

    def delete(self, repo_id: str) -> None:
        """Delete a repository; its large files stay, since others may hold the same.

        Raises:
            RefusalError: 404, if there is none.
        """
        aside = self._aside / secrets.token_hex(16)
        with self.locked(repo_id):
            # A rename, so that a reader sees the whole repository or none.
            self._path(repo_id).rename(aside)
            sync_folder(self._path(repo_id).parent)
        shutil.rmtree(aside)

    def move(self, repo_id: str, new_id: str) -> None:
        """Give a repository another id, and note it for `moved_to`.

        Raises:
            RefusalError: 404, if there is none; 409, if the new id is taken.
        """
        path, new_path = self._path(repo_id), self._path(new_id)
        with self.locked(repo_id), self._lock:
            if new_path.exists():
                raise RefusalError(
                    409, f"{repo_id} cannot become {new_id!r}, which exists: choose another name"
                )
            # The note first, since it counts only once nothing has the old id: a kill in between leaves
            # the repository where it was, and one after it leaves it whole at its new place.
            self._moved.note(repo_id, new_id)
            new_path.parent.mkdir(exist_ok=True)
            path.rename(new_path)
            for folder in (new_path.parent, path.parent, self._folder):
                sync_folder(folder)
            self._moved.forget(new_id)

    def moved_to(self, repo_id: str) -> str | None:
        """Return where the repository that had this id is now, None if there is none."""
        seen = {repo_id}
        while not self._path(repo_id).is_dir():
            new_id = self._moved.next_id(repo_id)
            if new_id is None or new_id in seen:
                return None
            repo_id = new_id
            seen.add(repo_id)
        return repo_id if len(seen) > 1 else None

    def is_private(self, repo_id: str) -> bool:
        """Whether only its owner may see a repository; it is taken for private if that cannot be read.

        Raises:
            RefusalError: 404, if there is none.
        """
        path = self._path(repo_id)
        try:
            return ConfigFile.from_path(path / "config").get(*VISIBILITY) != PUBLIC
        except (OSError, ValueError, KeyError):
            if not path.is_dir():
                raise repository_not_found(repo_id) from None
            return True

    def set_private(self, repo_id: str, *, private: bool) -> None:
        """Say who may see a repository: its owner only, or everybody.

        Raises:
            RefusalError: 404, if there is none.
        """
        with self.locked(repo_id) as repo:
            config = repo.get_config()
            config.set(*VISIBILITY, b"private" if private else PUBLIC)
            config.write_to_path()
            sync_folder(Path(repo.path))

    @contextmanager
    def opened(self, repo_id: str) -> Iterator[Repo]:
        """Open a repository for reading.

        Raises:
            RefusalError: 404, if there is none; 500, if git cannot make sense of it.
        """
        path = self._path(repo_id)
        if not path.is_dir():
            raise repository_not_found(repo_id)
        try:
            repo = open_durably(path)
        except (OSError, ValueError, KeyError, NotGitRepository) as error:
            if not path.is_dir():
                raise repository_not_found(repo_id) from None
            raise _damaged(repo_id) from error
        with repo:
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

    def _place(self, aside: Path, repo_id: str) -> None:
        path = self._path(repo_id)
        with self._lock:
            if path.exists():
                shutil.rmtree(aside)
                raise RefusalError(
                    409, f"the model repository {repo_id!r} already exists: use it, or choose another name"
                )
            path.parent.mkdir(exist_ok=True)
            for inside, _, _ in os.walk(aside):
                sync_folder(Path(inside))
            aside.rename(path)
            for folder in (path.parent, self._folder):
                sync_folder(folder)
            # What had this id before is not to be found by it again when this one is deleted.
            self._moved.forget(repo_id)

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


def write_commit(
    repo: Repo, ref: Ref, tree: ObjectID, parents: list[ObjectID], message: str, author: str = OWN_NAME
) -> Commit:
    """Write a commit and move `ref` to it; every object it needs must have been written before.

    A kill or a power cut at any moment leaves `ref` where it was or at the new commit.

    Args:
        repo: the repository, locked for writing.
        ref: the reference.
        tree: the commit's files.
        parents: the commits it follows.
        message: its title, and after an empty line the rest.
        author: name of the account that makes it.
    """
    commit = Commit()
    commit.tree = tree
    commit.parents = parents
    commit.author = commit.committer = f"{author} <{author}@localhost>".encode()
    commit.author_time = commit.commit_time = int(time.time())
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.encode()
    repo.object_store.add_object(commit)
    move_reference(repo, ref, commit.id)
    return commit


def created_at(repo: Repo) -> str:
    """Return when a repository was created, in ISO 8601."""
    try:
        return repo.get_config().get(*CREATED_AT).decode()
    except (KeyError, UnicodeDecodeError) as error:
        raise _damaged(Path(repo.path).stem) from error


def _damaged(name: str) -> RefusalError:
    return RefusalError(
        500,
        f"{name}: its settings cannot be read; 'sparsezoo-hub serve fsck' tells whoever runs this Hub more",
    )
