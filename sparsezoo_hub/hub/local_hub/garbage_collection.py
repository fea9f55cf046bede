"""Removing what no reference of any repository needs: git objects, large files, and what kills left behind.

Nothing is removed while a server runs, since a client may just be about to commit what it has uploaded, and
nothing while anything is damaged, since what a broken tree needs is not known. What is younger than
`GRACE_SECONDS` stays: its client may be waiting for the server to come back, to commit it.

A kill at any moment leaves a sound Hub: only what is not needed goes, and of git objects those first that
need others, so that none is ever there without what it needs.
"""

import os
import time
from collections.abc import Iterator, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

from dulwich.errors import NotGitRepository
from dulwich.objects import ObjectID, ShaFile
from dulwich.repo import Repo

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.names import is_commit_id
from sparsezoo_hub.hub.local_hub.reachability import (
    Reached,
    follow,
    needed_by,
    one_line,
    reach,
    read_object,
)
from sparsezoo_hub.hub.local_hub.repositories import Repositories
from sparsezoo_hub.hub.local_hub.root_contents import (
    bytes_in,
    is_served,
    large_files,
    leftovers,
    note_of,
    remove,
    require_hub,
)
from sparsezoo_hub.hub.local_hub.root_lock import locked_root

# As long as an address for an upload is good for.
GRACE_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that nothing needs.

    Args:
        kind: what it is.
        path: the file or folder that holds it.
        bytes: its length on disk.
    """

    kind: Literal["git object", "large file", "leftover"]
    path: Path
    bytes: int


@dataclass(slots=True)
class Collected:
    """What was removed, or would be.

    Args:
        garbage: in the order of removal.
        young: how many large files and git objects nothing needs, but are too young to go.
    """

    garbage: list[Garbage] = field(default_factory=list)
    young: int = 0

    @property
    def bytes(self) -> int:
        """Length of everything in `garbage`."""
        return sum(each.bytes for each in self.garbage)


def collect_garbage(root: Path, *, dry_run: bool = False) -> Collected:
    """Remove what no reference of any repository under `root` needs, and return what it was.

    Objects inside git packs stay; the Hub itself makes no packs.

    Args:
        root: a Hub's folder, which no server may be running on.
        dry_run: whether to remove nothing.

    Raises:
        HubError: if it is no Hub's folder, a server runs on it, or something in it is damaged.
    """
    require_hub(root)
    with ExitStack() as stack:
        if is_served(root):
            raise HubError(f"{root} is being served: stop the server, then collect the garbage")
        stack.enter_context(locked_root(root))
        collected = _find(root)
        for each in [] if dry_run else collected.garbage:
            remove(each.path)
    return collected


def _find(root: Path) -> Collected:
    youngest = time.time() - GRACE_SECONDS
    collected = Collected()
    needed: set[str] = set()
    for repo_id in Repositories(root).ids():
        reached = _find_in_repository(root, repo_id, youngest, collected)
        needed.update(pointer.sha256 for pointer in reached.large_files)
    for path in large_files(root):
        if path.name in needed:
            continue
        if path.stat().st_mtime > youngest:
            collected.young += 1
            continue
        collected.garbage += [
            Garbage("large file", each, bytes_in(each)) for each in (note_of(path), path) if each.exists()
        ]
    collected.garbage += [Garbage("leftover", path, bytes_in(path)) for path in leftovers(root, served=False)]
    return collected


def _find_in_repository(root: Path, repo_id: str, youngest: float, collected: Collected) -> Reached:
    """Add a repository's unneeded objects to `collected`, and return what it needs."""
    path = root / "models" / f"{repo_id}.git"
    try:
        with Repo(os.fspath(path)) as repo:
            reached = reach(repo)
            if not reached.problems:
                unneeded = {oid: file for oid, file in _loose_objects(path) if oid not in reached.objects}
                young = [oid for oid, file in unneeded.items() if file.stat().st_mtime > youngest]
                # They may belong to a commit that was cut off: it would be made again from the same objects.
                kept = Reached(objects=set(reached.objects))
                follow(repo, [(oid, "unneeded") for oid in young], kept)
                reached.large_files |= kept.large_files
                collected.young += len(young)
                collected.garbage += [
                    Garbage("git object", unneeded[oid], bytes_in(unneeded[oid]))
                    for oid in _needing_first(repo, unneeded.keys() - kept.objects)
                ]
    except (NotGitRepository, OSError, ValueError) as error:
        reached = Reached(problems=[f"cannot be opened as a git repository: {one_line(error)}"])
    if reached.problems:
        raise HubError(
            f"{repo_id}: {reached.problems[0]}; nothing was removed, since what is damaged may need what"
            " looks like garbage: see 'sparsezoo-hub serve fsck'"
        )
    return reached


def _loose_objects(git_folder: Path) -> Iterator[tuple[ObjectID, Path]]:
    for path in (git_folder / "objects").glob("??/*"):
        name = path.parent.name + path.name
        if is_commit_id(name):
            yield ObjectID(name.encode()), path


def _needing_first(repo: Repo, oids: Set[ObjectID]) -> list[ObjectID]:
    """Return `oids` in an order in which every object comes before those that it needs."""
    order: TopologicalSorter[ObjectID] = TopologicalSorter()
    for oid in sorted(oids):
        order.add(oid)
        found = read_object(repo, oid, "unneeded")
        if isinstance(found, ShaFile):
            for needed, _ in needed_by(found, "unneeded"):
                if needed in oids:
                    order.add(needed, oid)
    return list(order.static_order())
