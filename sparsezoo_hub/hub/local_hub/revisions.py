"""Branches, tags and commits: what a revision's name means, and how they come and go."""

import re
import time
from typing import Any

from dulwich.objects import Commit, ObjectID, Tag
from dulwich.refs import Ref
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.discussion_store import has_discussion
from sparsezoo_hub.hub.local_hub.durable_references import move_reference
from sparsezoo_hub.hub.local_hub.names import branch_ref, check_ref_name, is_commit_id, tag_ref
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, revision_not_found
from sparsezoo_hub.hub.local_hub.repositories import AUTHOR, DEFAULT_BRANCH

_BRANCHES = Ref(b"refs/heads/")
_TAGS = Ref(b"refs/tags/")
_PULL_REQUESTS = Ref(b"refs/pr/")
_PULL_REQUEST = re.compile(r"refs/pr/([1-9][0-9]{0,8})")


def find_commit(repo: Repo, repo_id: str, revision: str) -> Commit:
    """Return the commit that `revision` means: a commit's id, a branch, a tag or a full reference.

    A pull request has a full reference only: `refs/pr/1`.

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
        RefusalError: 404, if there is no such branch; only branches and pull requests can be committed to.
    """
    name = revision.removeprefix("refs/heads/")
    commit = _tip(repo, repo_id, f"refs/heads/{name}")
    if commit is None:
        message = f"{repo_id} has no branch {revision!r} to commit to: create it first with create_branch"
        raise RefusalError(404, message, code="RevisionNotFound")
    return branch_ref(name), commit


def find_pull_request(repo: Repo, repo_id: str, num: int) -> tuple[Ref, Commit]:
    """Return the reference of pull request `num` and the commit it stands at.

    Raises:
        RefusalError: 404, if there is no such pull request.
    """
    ref = pull_request_ref(num)
    commit = _tip(repo, repo_id, ref.decode())
    if commit is None:
        message = f"{repo_id} has no pull request {num}: open one with create_pr=True"
        raise RefusalError(404, message, code="RevisionNotFound")
    return ref, commit


def pull_request_number(revision: str) -> int | None:
    """Return the number of the pull request that `revision` names, None if it names something else."""
    match = _PULL_REQUEST.fullmatch(revision)
    return None if match is None else int(match[1])


def pull_request_ref(num: int) -> Ref:
    """Return the git reference of pull request `num`."""
    return Ref(b"refs/pr/%d" % num)


def list_references(repo: Repo, *, pull_requests: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return all branches and tags, as the client expects them; a tag's target is its commit.

    Args:
        repo: the repository.
        pull_requests: whether to list these too.
    """
    listed: dict[str, list[dict[str, Any]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    kinds = {"heads": "branches", "tags": "tags"} | ({"pr": "pullRequests"} if pull_requests else {})
    for ref, oid in sorted(_references(repo).items()):
        kind = kinds.get(ref.split("/", 2)[1])
        if kind is not None:
            name = ref if kind == "pullRequests" else ref.split("/", 2)[2]
            _, target = repo.object_store.peel(oid)
            listed[kind].append({"name": name, "ref": ref, "targetCommit": target.id.decode()})
    return listed


def create_branch(repo: Repo, name: str, start: Commit) -> None:
    """Create branch `name` at `start`.

    Raises:
        RefusalError: 400 or 409, if the name is bad or taken.
    """
    check_ref_name(name, _short_names(repo))
    move_reference(repo, branch_ref(name), start.id)


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
    move_reference(repo, tag_ref(name), oid)


def delete_tag(repo: Repo, repo_id: str, name: str) -> None:
    """Delete tag `name`.

    Raises:
        RefusalError: 404, if there is none.
    """
    if f"refs/tags/{name}" not in _references(repo):
        raise revision_not_found(repo_id, name)
    repo.refs.remove_if_equals(tag_ref(name), None)


def _tip(repo: Repo, repo_id: str, ref: str) -> Commit | None:
    oid = _references(repo).get(ref)
    if oid is None:
        return None
    commit = repo.object_store[oid]
    if not isinstance(commit, Commit):
        raise revision_not_found(repo_id, ref)
    return commit


def _references(repo: Repo) -> dict[str, ObjectID]:
    return {
        name: oid
        for ref, oid in repo.refs.as_dict().items()
        if ref.startswith((_BRANCHES, _TAGS)) or _is_pull_request(repo, ref)
        for name in [ref.decode()]
    }


def _is_pull_request(repo: Repo, ref: Ref) -> bool:
    # Its record is written last: a reference without one was left by a kill, and means nothing.
    num = pull_request_number(ref.decode("utf-8", "replace")) if ref.startswith(_PULL_REQUESTS) else None
    return num is not None and has_discussion(repo, num)


def _short_names(repo: Repo) -> list[str]:
    return [ref.split("/", 2)[2] for ref in _references(repo) if not ref.startswith("refs/pr/")]
