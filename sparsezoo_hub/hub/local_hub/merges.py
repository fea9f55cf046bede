"""Bringing the changes of one commit together with those of another, as git does it."""

import tempfile
from pathlib import Path

from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import Commit, ObjectID, Tree
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.git_command import run_git
from sparsezoo_hub.hub.local_hub.names import is_commit_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import AUTHOR

MAX_DIFF = 8 << 20
_MOST_CONFLICTS = 16 << 20
# A renamed file is one that was deleted and one that was added: git would guess by likeness, and the
# pointers of large files are all alike.
_SETTINGS = ("-c", "merge.renames=false", "-c", "core.quotePath=false", "-c", "diff.renames=false")
_CONFLICTS = 1


def merge_trees(
    repo: Repo, base: Commit, ours: Commit, theirs: Commit, *, keep: bool
) -> tuple[ObjectID | None, list[str]]:
    """Return the tree that has the changes from `base` to both commits, or the files where they conflict.

    Lines of one text are merged as git merges them; a large file is either side's whole, never a mixture.

    Args:
        repo: the repository; nothing is written to it unless `keep`.
        base: what both come from, whatever the history says: that may have been squashed since.
        ours: one side.
        theirs: the other side.
        keep: whether to write the tree and all that is new in it.

    Returns:
        The tree's id and an empty list, or None and the paths in conflict, sorted.

    Raises:
        RefusalError: 501, if the server has no git, or one that is too old for this.
    """
    objects = Path(repo.path, "objects").absolute()
    with tempfile.TemporaryDirectory() as folder:
        store = DiskObjectStore.init(folder)
        try:
            store.add_alternate_path(objects)
            start = _commit_alone(store, base, [])
            sides = [_commit_alone(store, side, [start]) for side in (ours, theirs)]
            code, said = run_git(
                Path(repo.path),
                *(*_SETTINGS, "merge-tree", "--write-tree", "--name-only", "-z", "--no-messages"),
                *(side.decode() for side in sides),
                most=_MOST_CONFLICTS,
                variables={"GIT_OBJECT_DIRECTORY": folder},
            )
            tree, *conflicts = [part for part in said.split(b"\0") if part] or [b""]
            if code not in {0, _CONFLICTS} or not is_commit_id(tree.decode("latin-1")):
                raise RefusalError(
                    501, f"git merge-tree ended with code {code}: this Hub's computer needs git 2.38 or newer"
                )
            if code == _CONFLICTS:
                return None, sorted({path.decode("utf-8", "replace") for path in conflicts})
            if keep:
                _adopt(ObjectID(tree), store, repo.object_store)
            return ObjectID(tree), []
        finally:
            store.close()


def text_diff(repo: Repo, old: Commit, new: Commit) -> str:
    """Return what changed between two commits, as git shows it; cut off after `MAX_DIFF` bytes.

    A large file shows as the change of its pointer.
    """
    code, said = run_git(
        Path(repo.path),
        *(*_SETTINGS, "diff", "--no-color", "--no-ext-diff", "--no-textconv"),
        *(old.id.decode(), new.id.decode()),
        most=MAX_DIFF + 1,
    )
    if code != 0:
        raise RefusalError(500, f"git diff ended with code {code}: whoever runs this Hub must see serve fsck")
    if len(said) > MAX_DIFF:
        said = said[:MAX_DIFF] + b"\n(the rest is left out: git clone the repository to see it)\n"
    return said.decode("utf-8", "replace")


def _commit_alone(store: DiskObjectStore, side: Commit, parents: list[ObjectID]) -> ObjectID:
    """Write a commit of the same files with another past, and return its id."""
    commit = Commit()
    commit.tree = side.tree
    commit.parents = parents
    commit.author = commit.committer = AUTHOR
    commit.author_time = commit.commit_time = side.commit_time
    commit.author_timezone = commit.commit_timezone = 0
    # Both sides may have the same files, and are two commits nevertheless.
    commit.message = side.id
    store.add_object(commit)
    return commit.id


def _adopt(oid: ObjectID, source: BaseObjectStore, target: BaseObjectStore) -> None:
    if oid in target:
        return
    found = source[oid]
    if isinstance(found, Tree):
        for _, _, inner in found.iteritems():
            _adopt(inner, source, target)
    target.add_object(found)
