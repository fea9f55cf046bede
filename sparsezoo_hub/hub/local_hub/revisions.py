"""Branches, tags and commits: what a revision's name means, and how they come and go."""

import time
from typing import Any

from dulwich.objects import Commit, ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.names import branch_ref, check_ref_name, is_commit_id, tag_ref
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, revision_not_found
from sparsezoo_hub.hub.local_hub.repositories import AUTHOR, DEFAULT_BRANCH

_BRANCHES = Ref(b"refs/heads/")
_TAGS = Ref(b"refs/tags/")


def find_commit(repo: Repo, repo_id: str, revision: str) -> Commit:
    """Return the commit that `revision` means: a commit's id, a branch, a tag or a full reference.

    Raises:
        RefusalError: 404, if there is none.
    """
    found: ObjectID | None = None
    if is_commit_id(revision):
        found = ObjectID(revision.lower().encode())
    else:
        references = _references(repo)
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            found = found or references.get(name)
    if found is not None and found in repo.object_store:
        _, target = repo.object_store.peel(found)
        if isinstance(target, Commit):
            return target
    raise revision_not_found(repo_id, revision)


def find_branch(repo: Repo, repo_id: str, revision: str) -> tuple[Ref, Commit]:
    """Return the branch `revision` and the commit it stands at.

    Raises:
        RefusalError: 404, if there is no such branch; only a branch can be committed to.
    """
    name = revision.removeprefix("refs/heads/")
    head = _references(repo).get(f"refs/heads/{name}")
    if head is None:
        message = f"{repo_id} has no branch {revision!r} to commit to: create it first with create_branch"
        raise RefusalError(404, message, code="RevisionNotFound")
    commit = repo.object_store[head]
    if not isinstance(commit, Commit):
        raise revision_not_found(repo_id, revision)
    return branch_ref(name), commit


def list_references(repo: Repo) -> dict[str, list[dict[str, Any]]]:
    """Return all branches and tags, as the client expects them; a tag's target is its commit."""
    listed: dict[str, list[dict[str, Any]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    for ref, oid in sorted(_references(repo).items()):
        kind = "branches" if ref.startswith("refs/heads/") else "tags"
        _, target = repo.object_store.peel(oid)
        listed[kind].append(
            {"name": ref.split("/", 2)[2], "ref": ref, "targetCommit": target.id.decode()},
        )
    return listed


def create_branch(repo: Repo, name: str, start: Commit) -> None:
    """Create branch `name` at `start`.

    Raises:
        RefusalError: 400 or 409, if the name is bad or taken.
    """
    check_ref_name(name, _short_names(repo))
    repo.refs.set_if_equals(branch_ref(name), None, start.id)


def delete_branch(repo: Repo, repo_id: str, name: str) -> None:
    """Delete branch `name`; its commits stay.

    Raises:
        RefusalError: 404, if there is none; 403, for the default branch.
    """
    if name == DEFAULT_BRANCH:
        raise RefusalError(
            403, f"the branch {name!r} of {repo_id} is its default branch and cannot be deleted"
        )
    if f"refs/heads/{name}" not in _references(repo):
        raise revision_not_found(repo_id, name)
    repo.refs.remove_if_equals(branch_ref(name), None)


def create_tag(repo: Repo, name: str, target: Commit, message: str | None) -> None:
    """Create tag `name` at `target`: an annotated one if there is a message.

    Raises:
        RefusalError: 400 or 409, if the name is bad or taken.
    """
    check_ref_name(name, _short_names(repo))
    oid = target.id
    if message:
        tag = Tag()
        tag.name = name.encode()
        tag.object = (Commit, target.id)
        tag.tagger = AUTHOR
        tag.tag_time = int(time.time())
        tag.tag_timezone = 0
        tag.message = message.encode()
        repo.object_store.add_object(tag)
        oid = tag.id
    repo.refs.set_if_equals(tag_ref(name), None, oid)


def delete_tag(repo: Repo, repo_id: str, name: str) -> None:
    """Delete tag `name`.

    Raises:
        RefusalError: 404, if there is none.
    """
    if f"refs/tags/{name}" not in _references(repo):
        raise revision_not_found(repo_id, name)
    repo.refs.remove_if_equals(tag_ref(name), None)


def _references(repo: Repo) -> dict[str, ObjectID]:
    return {
        ref.decode(): oid for ref, oid in repo.refs.as_dict().items() if ref.startswith((_BRANCHES, _TAGS))
    }


def _short_names(repo: Repo) -> list[str]:
    return [ref.split("/", 2)[2] for ref in _references(repo)]
