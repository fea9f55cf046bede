"""Files and folders of a revision."""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dulwich.errors import NotTreeError
from dulwich.object_store import tree_lookup_path
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, parse_pointer
from sparsezoo_hub.hub.local_hub.repositories import DATE_FORMAT

# A longer blob is no pointer; a pointer is about 130 bytes.
_MAX_POINTER = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a tree.

    Args:
        path: from the repository's top, separated by '/'.
        oid: git's SHA-1 of the blob or tree.
        is_folder: whether it is a tree.
    """

    path: str
    oid: ObjectID
    is_folder: bool


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file holds.

    Args:
        size: length in bytes, of the large file if there is one.
        blob: the git blob's content: the file itself, or its pointer.
        pointer: the large file, if it is one.
    """

    size: int
    blob: bytes
    pointer: LfsPointer | None


def list_entries(
    repo: Repo, commit: Commit, folder: str = "", *, recursive: bool = True
) -> list[Entry] | None:
    """Return what lies in `folder`, sorted by path; None if there is no such folder.

    Args:
        repo: the repository.
        commit: the revision.
        folder: path of the folder, "" for the top.
        recursive: whether to go into its folders.
    """
    top = commit.tree
    if folder:
        found = find_entry(repo, commit, folder)
        if found is None or not found.is_folder:
            return None
        top = found.oid
    return sorted(_walk(repo, top, folder, recursive=recursive), key=lambda entry: entry.path)


def find_entry(repo: Repo, commit: Commit, path: str) -> Entry | None:
    """Return the file or folder at `path`, None if there is none."""
    try:
        mode, oid = tree_lookup_path(repo.object_store.__getitem__, commit.tree, path.encode())
    except (KeyError, ValueError, NotTreeError):
        return None
    return None if mode is None else Entry(path, oid, _is_tree(mode))


def read_file(repo: Repo, entry: Entry) -> FileContent:
    """Return what the file `entry` holds."""
    blob = repo.object_store[entry.oid]
    if not isinstance(blob, Blob):
        raise ValueError(f"{entry.path}: must be a file, got a {type(blob).__name__}")
    content = blob.data
    pointer = parse_pointer(content) if len(content) <= _MAX_POINTER else None
    return FileContent(len(content) if pointer is None else pointer.size, content, pointer)


def describe_entries(
    repo: Repo, entries: Iterable[Entry], last_commits: dict[str, Commit] | None = None
) -> list[dict[str, Any]]:
    """Return `entries` as the client expects them.

    Args:
        repo: the repository.
        entries: what to describe.
        last_commits: the commit that last changed each path, if the client asked for it.
    """
    described = []
    for entry in entries:
        fields: dict[str, Any] = {
            "type": "directory",
            "path": entry.path,
            "oid": entry.oid.decode(),
            "size": 0,
        }
        if not entry.is_folder:
            content = read_file(repo, entry)
            fields |= {"type": "file", "size": content.size}
            if content.pointer is not None:
                fields["lfs"] = {
                    "oid": content.pointer.sha256,
                    "size": content.pointer.size,
                    "pointerSize": len(content.blob),
                }
        if last_commits is not None:
            commit = last_commits[entry.path]
            fields["lastCommit"] = {
                "id": commit.id.decode(),
                "title": split_message(commit)[0],
                "date": commit_date(commit),
            }
        described.append(fields)
    return described


def find_last_commits(repo: Repo, commit: Commit, entries: Iterable[Entry]) -> dict[str, Commit]:
    """Return, for every path, the commit that gave it the content it has in `commit`."""
    wanted = {entry.path: entry.oid for entry in entries}
    last: dict[str, Commit] = {}
    while wanted:
        parent = parent_of(repo, commit)
        for path, oid in list(wanted.items()):
            before = None if parent is None else find_entry(repo, parent, path)
            if before is None or before.oid != oid:
                last[path] = commit
                del wanted[path]
        if parent is None:
            break
        commit = parent
    return last


def iter_history(repo: Repo, commit: Commit) -> Iterator[Commit]:
    """Yield `commit` and its ancestors, the newest first; the Hub makes no merges."""
    current: Commit | None = commit
    while current is not None:
        yield current
        current = parent_of(repo, current)


def parent_of(repo: Repo, commit: Commit) -> Commit | None:
    """Return the commit before `commit`, None for the first."""
    if not commit.parents:
        return None
    parent = repo.object_store[commit.parents[0]]
    return parent if isinstance(parent, Commit) else None


def author_of(commit: Commit) -> str:
    """Return the name of the account that made a commit."""
    return str(commit.author.decode("utf-8", "replace").partition(" <")[0])


def split_message(commit: Commit) -> tuple[str, str]:
    """Return a commit's title and the rest of its message."""
    title, _, rest = commit.message.decode("utf-8", "replace").partition("\n")
    return title, rest.strip("\n")


def commit_date(commit: Commit) -> str:
    """Return when a commit was made, in ISO 8601."""
    return datetime.fromtimestamp(commit.commit_time, UTC).strftime(DATE_FORMAT)


def _walk(repo: Repo, top: ObjectID, folder: str, *, recursive: bool) -> Iterator[Entry]:
    tree = repo.object_store[top]
    if not isinstance(tree, Tree):
        raise ValueError(f"{folder!r}: must be a folder, got a {type(tree).__name__}")
    for name, mode, oid in tree.iteritems():
        path = f"{folder}/{name.decode()}" if folder else name.decode()
        yield Entry(path, oid, _is_tree(mode))
        if recursive and _is_tree(mode):
            yield from _walk(repo, oid, path, recursive=True)


def _is_tree(mode: int) -> bool:
    return stat.S_ISDIR(mode)
