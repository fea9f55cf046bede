"""Pull requests: a change that is proposed, looked at, and merged.

As on the public Hub, the commits of pull request N are at the reference `refs/pr/N`, and merging it makes
one commit on its branch with all of its changes.
"""

from collections.abc import Iterator
from typing import Any

from dulwich.object_store import tree_lookup_path
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.repo import Repo

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.card_metadata import CARD_FILE, check_card
from sparsezoo_hub.hub.local_hub.discussion_store import read_discussion, write_discussion
from sparsezoo_hub.hub.local_hub.discussions import (
    Discussion,
    Event,
    Merging,
    PullRequest,
    StatusChange,
    describe_discussion,
    describe_event,
    event_fields,
    new_comment,
    new_id,
    now,
)
from sparsezoo_hub.hub.local_hub.merges import merge_trees, text_diff
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import write_commit
from sparsezoo_hub.hub.local_hub.revisions import find_branch, find_pull_request
from sparsezoo_hub.hub.local_hub.trees import author_of, commit_date, iter_history, split_message


def load_discussion(repo: Repo, repo_id: str, num: int) -> Discussion:
    """Return a discussion, or pull request, as it stands.

    Raises:
        RefusalError: 404, if there is none.
    """
    return settle(repo, read_discussion(repo, repo_id, num))


def settle(repo: Repo, discussion: Discussion) -> Discussion:
    """Return `discussion` with its merge finished, if a kill came after its branch had moved.

    The branch is what counts: no file of ours can move together with it.
    """
    request = discussion.pull_request
    if request is None or request.merging is None or discussion.status != "open":
        return discussion
    try:
        _, head = find_branch(repo, "", request.branch)
    except RefusalError:
        return discussion
    for commit in iter_history(repo, head):
        if commit.id.decode() == request.merging.parent:
            return discussion
        if [parent.decode() for parent in commit.parents] == [request.merging.parent]:
            if commit.tree.decode() != request.merging.tree:
                return discussion
            return _merged(discussion, request, commit.id)
    return discussion


def check_proposer(discussion: Discussion, *, is_proposer: bool) -> None:
    """Refuse a commit to a pull request that takes none.

    Args:
        discussion: the pull request.
        is_proposer: whether it is theirs, or they may change the repository.

    Raises:
        RefusalError: 403, if it is somebody else's; 409, if it was closed or merged.
    """
    name = f"pull request {discussion.num}"
    if not is_proposer:
        raise RefusalError(
            403, f"{name} is {discussion.author!r}'s: open one of your own with create_pr=True"
        )
    if discussion.status == "merged":
        raise RefusalError(409, f"{name} was merged: open a new one with create_pr=True")
    if discussion.status == "closed":
        raise RefusalError(409, f"{name} is closed: open it again with change_discussion_status, then commit")


def merge_pull_request(
    repo: Repo, repo_id: str, discussion: Discussion, comment: str | None, author: str
) -> str:
    """Make one commit of a pull request's changes on its branch, and return its id.

    A kill leaves the pull request open and the branch where it was, or both merged: see `settle`.

    Args:
        repo: the repository, locked for writing.
        repo_id: its id, for messages.
        discussion: the pull request.
        comment: what to say with it.
        author: name of the account that merges.

    Raises:
        RefusalError: 400 for a mere discussion or one without commits, 404 if the branch is gone, 409 if it
            is not open or if its changes conflict with the branch; nothing was changed then.
    """
    request = _mergeable(discussion)
    ref, target = find_branch(repo, repo_id, request.branch)
    head, base = _head(repo, repo_id, discussion), _base(repo, request)
    if head.tree == base.tree:
        raise RefusalError(
            400, f"pull request {discussion.num} changes nothing: commit to refs/pr/{discussion.num} first"
        )
    tree, conflicts = merge_trees(repo, base, target, head, keep=True)
    if tree is None:
        raise RefusalError(
            409,
            f"pull request {discussion.num} conflicts with {request.branch!r} in {', '.join(conflicts)}:"
            f" commit these files to a new pull request from {request.branch!r} as it is now",
            details={"filesWithConflicts": conflicts},
        )
    _check_card(repo, tree)
    events: list[Event] = [] if comment is None else [new_comment(comment, author)]
    events.append(StatusChange(id=new_id(), author=author, date=now(), status="merged"))
    request.merging = Merging(parent=target.id.decode(), tree=tree.decode(), events=events)
    commit_id = target.id
    if tree != target.tree:
        write_discussion(repo, discussion)
        message = _message(repo, repo_id, discussion)
        commit_id = write_commit(repo, ref, tree, [target.id], message, author).id
    write_discussion(repo, _merged(discussion, request, commit_id))
    return commit_id.decode()


def describe_details(repo: Repo, repo_id: str, discussion: Discussion, *, diff: bool) -> dict[str, Any]:
    """Return a discussion with all that has happened, as the client expects it.

    Args:
        repo: the repository.
        repo_id: its id.
        discussion: the discussion or pull request.
        diff: whether to tell what a pull request changes.
    """
    details = describe_discussion(discussion, repo_id)
    first, *later = [describe_event(event) for event in discussion.events]
    request = discussion.pull_request
    if request is not None:
        later += [_describe_commit(commit) for commit in _commits(repo, repo_id, discussion)]
        details["changes"] = {"base": f"refs/heads/{request.branch}"}
        if request.merge_commit is not None:
            details["changes"]["mergeCommitId"] = request.merge_commit
        details["filesWithConflicts"] = _conflicts(repo, repo_id, discussion, request)
        if diff:
            details["diff"] = text_diff(repo, _base(repo, request), _head(repo, repo_id, discussion))
    # In ISO 8601, dates sort as texts.
    details["events"] = [first, *sorted(later, key=lambda event: str(event["createdAt"]))]
    return details


def _mergeable(discussion: Discussion) -> PullRequest:
    request, num = discussion.pull_request, discussion.num
    if request is None:
        raise RefusalError(400, f"{num} is a discussion: only pull requests can be merged")
    if discussion.status == "draft":
        raise RefusalError(
            409, f"pull request {num} is a draft: publish it with change_discussion_status(..., 'open') first"
        )
    if discussion.status != "open":
        raise RefusalError(409, f"pull request {num} is {discussion.status}: only an open one can be merged")
    return request


def _merged(discussion: Discussion, request: PullRequest, commit_id: ObjectID) -> Discussion:
    if request.merging is not None:
        discussion.events.extend(request.merging.events)
    request.merging = None
    request.merge_commit = commit_id.decode()
    discussion.status = "merged"
    return discussion


def _conflicts(repo: Repo, repo_id: str, discussion: Discussion, request: PullRequest) -> list[str]:
    if discussion.status == "merged":
        return []
    try:
        _, target = find_branch(repo, repo_id, request.branch)
    except RefusalError:
        # Its branch was deleted: there is nothing that it could conflict with.
        return []
    base = _base(repo, request)
    if base.tree == target.tree:
        return []
    return merge_trees(repo, base, target, _head(repo, repo_id, discussion), keep=False)[1]


def _head(repo: Repo, repo_id: str, discussion: Discussion) -> Commit:
    return find_pull_request(repo, repo_id, discussion.num)[1]


def _base(repo: Repo, request: PullRequest) -> Commit:
    base = repo.object_store[ObjectID(request.base.encode())]
    if not isinstance(base, Commit):
        raise HubError(f"{repo.path}: {request.base} must be a commit, got a {type(base).__name__}")
    return base


def _commits(repo: Repo, repo_id: str, discussion: Discussion) -> list[Commit]:
    """Return the commits of a pull request, the oldest first."""

    def newest_first() -> Iterator[Commit]:
        request = discussion.pull_request
        for commit in iter_history(repo, _head(repo, repo_id, discussion)):
            if request is None or commit.id.decode() == request.base:
                return
            yield commit

    return list(newest_first())[::-1]


def _describe_commit(commit: Commit) -> dict[str, Any]:
    oid = commit.id.decode()
    data = {"subject": split_message(commit)[0], "oid": oid}
    return event_fields(oid[:24], "commit", author_of(commit), commit_date(commit), data)


def _message(repo: Repo, repo_id: str, discussion: Discussion) -> str:
    """Return the message of the merge, as the public Hub writes it."""
    commits = _commits(repo, repo_id, discussion)
    lines = [f"- {split_message(commit)[0]} ({commit.id.decode()})" for commit in commits]
    authors = dict.fromkeys(author_of(commit) for commit in commits)
    signed = [f"Co-authored-by: {name} <{name}@localhost>" for name in authors]
    return "\n".join([f"{discussion.title} (#{discussion.num})", "", *lines, "", *signed])


def _check_card(repo: Repo, tree: ObjectID) -> None:
    try:
        _, oid = tree_lookup_path(repo.object_store.__getitem__, tree, CARD_FILE.encode())
    except KeyError:
        return
    # Two good cards may still make a bad one.
    card = repo.object_store[oid]
    if isinstance(card, Blob):
        check_card(card.data)
