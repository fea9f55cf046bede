"""Who may change what belongs to a pull request or a discussion."""

from starlette.requests import Request

from sparsezoo_hub.hub.local_hub.api.access import account_of, contribute_repo, write_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import is_set
from sparsezoo_hub.hub.local_hub.discussions import Discussion
from sparsezoo_hub.hub.local_hub.hub_state import HubState
from sparsezoo_hub.hub.local_hub.revisions import pull_request_number


def committed_repo(request: Request, revision: str) -> tuple[HubState, str]:
    """Return the Hub and the repository that the address names, if whoever asks may commit to `revision`.

    A branch is its owner's; a change to it can be proposed by everybody who may see it.

    Raises:
        RefusalError: 401, 403 or 404, as `write_repo` and `contribute_repo`.
    """
    proposes = is_set(request, "create_pr") or pull_request_number(revision) is not None
    return contribute_repo(request) if proposes else write_repo(request)


def is_theirs(request: Request, repo_id: str, discussion: Discussion) -> bool:
    """Whether whoever asks opened `discussion`, or may change the repository."""
    account = account_of(request)
    return account.name == discussion.author or account.may_write(repo_id)
