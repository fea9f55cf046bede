"""Opening a pull request: with its first commit, or empty as a draft to be filled."""

from dulwich.objects import Commit
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.commit_stream import CommitRequest
from sparsezoo_hub.hub.local_hub.commits import build_tree
from sparsezoo_hub.hub.local_hub.discussion_store import next_number, write_discussion
from sparsezoo_hub.hub.local_hub.discussions import (
    MAX_COMMENT,
    MAX_TITLE,
    Discussion,
    PullRequest,
    new_discussion,
)
from sparsezoo_hub.hub.local_hub.durable_references import move_reference
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH, write_commit
from sparsezoo_hub.hub.local_hub.revisions import find_branch, pull_request_ref
from sparsezoo_hub.hub.local_hub.trees import iter_history

NO_DESCRIPTION = "Opened with its first commit."


def propose_commit(
    repo: Repo, repo_id: str, branch: str, request: CommitRequest, large_files: LargeFiles, author: str
) -> tuple[Discussion, Commit]:
    """Open a pull request with one commit, and return both.

    The record of the pull request is written last and its reference means nothing without it, so a kill
    leaves no pull request or a whole one.

    Args:
        repo: the repository, locked for writing.
        repo_id: its id, for messages.
        branch: the branch that it wants to change.
        request: what the client sent; it begins from `request.parent` if that is given, as on the public Hub.
        large_files: where large files are.
        author: name of the account that proposes it.

    Raises:
        RefusalError: 404 if there is no such branch, 412 if it does not have that parent, 400 if nothing
            changes, and as `make_commit`.
    """
    _, head = find_branch(repo, repo_id, branch)
    base = head if request.parent is None else _ancestor(repo, repo_id, branch, head, request.parent)
    tree = build_tree(repo, base, request, large_files)
    if tree == base.tree:
        raise RefusalError(
            400, f"{repo_id} has these files already at {branch!r}: there is nothing to propose"
        )
    num = next_number(repo)
    commit = write_commit(repo, pull_request_ref(num), tree, [base.id], request.message, author)
    title, _, rest = request.message.partition("\n")
    description = rest.strip()[:MAX_COMMENT] or NO_DESCRIPTION
    proposal = PullRequest(branch=branch.removeprefix("refs/heads/"), base=base.id.decode())
    title = " ".join(title.split())[:MAX_TITLE]
    discussion = new_discussion(num, title, description, author, proposal, "open")
    write_discussion(repo, discussion)
    return discussion, commit


def propose_draft(repo: Repo, repo_id: str, title: str, description: str, author: str) -> Discussion:
    """Open a pull request against the default branch without a commit: a draft until it is published."""
    _, head = find_branch(repo, repo_id, DEFAULT_BRANCH)
    num = next_number(repo)
    move_reference(repo, pull_request_ref(num), head.id)
    proposal = PullRequest(branch=DEFAULT_BRANCH, base=head.id.decode())
    discussion = new_discussion(num, title, description, author, proposal, "draft")
    write_discussion(repo, discussion)
    return discussion


def _ancestor(repo: Repo, repo_id: str, branch: str, head: Commit, start: str) -> Commit:
    for commit in iter_history(repo, head):
        if commit.id.decode().startswith(start.lower()):
            return commit
    raise RefusalError(412, f"the branch {branch!r} of {repo_id} has no commit {start}: list its commits")
