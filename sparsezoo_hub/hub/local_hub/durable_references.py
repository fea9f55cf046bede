"""Moving a reference so that a power cut, like a kill, leaves it at the old or at the new commit."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import Commit, ObjectID, Tag, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.large_files import sync_folder


def open_durably(folder: Path) -> Repo:
    """Open a repository; every object that is added to it is synced to the disk.

    dulwich would read that from the repository's configuration too, but git warns of it at every clone.

    Args:
        folder: the bare repository.

    Raises:
        NotGitRepository: if it is none; OSError, ValueError or KeyError, if it is damaged.
    """
    repo = Repo(str(folder))
    if not isinstance(repo.object_store, DiskObjectStore):
        raise TypeError(
            f"{folder}: must keep its objects on the disk, got a {type(repo.object_store).__name__}"
        )
    repo.object_store.fsync_object_files = True
    return repo


def move_reference(repo: Repo, ref: Ref, oid: ObjectID) -> None:
    """Let `ref` stand at a commit or tag, once the disk has it and everything that came with it.

    The content of every object is synced when it is written (`open_durably`). Here follow the
    names in the folders of objects: only when they are on the disk too is the reference written, synced
    and renamed into place, and then its own folder synced. Objects that a commit shares with its first
    parent were synced with that.

    Args:
        repo: the repository, locked for writing; all objects were added to it before.
        ref: the reference's full name; it need not exist.
        oid: where it is to stand.
    """
    objects = Path(repo.path, "objects")
    folders = {objects / new[:2].decode() for new in _new_objects(repo.object_store, oid)}
    for folder in sorted(folders):
        if folder.is_dir():  # else the object is in a pack, which was there before
            sync_folder(folder)
    sync_folder(objects)
    repo.refs.set_if_equals(ref, None, oid)
    folder = Path(repo.path, os.fsdecode(ref)).parent
    while folder != Path(repo.path):
        sync_folder(folder)
        folder = folder.parent


def _new_objects(store: BaseObjectStore, oid: ObjectID) -> Iterator[ObjectID]:
    yield oid
    found = store[oid]
    if isinstance(found, Tag):
        yield from _new_objects(store, found.object[1])
    elif isinstance(found, Commit):
        parent = store[found.parents[0]] if found.parents else None
        yield from _new_in_tree(store, found.tree, parent.tree if isinstance(parent, Commit) else None)


def _new_in_tree(store: BaseObjectStore, tree: ObjectID, before: ObjectID | None) -> Iterator[ObjectID]:
    if tree == before:
        return
    yield tree
    known = _entries(store, before)
    for name, (mode, oid) in _entries(store, tree).items():
        old_mode, old = known.get(name, (0, None))
        if stat.S_ISDIR(mode):
            yield from _new_in_tree(store, oid, old if stat.S_ISDIR(old_mode) else None)
        elif oid != old:
            yield oid


def _entries(store: BaseObjectStore, tree: ObjectID | None) -> dict[bytes, tuple[int, ObjectID]]:
    found = None if tree is None else store[tree]
    return {name: (mode, oid) for name, mode, oid in found.iteritems()} if isinstance(found, Tree) else {}
