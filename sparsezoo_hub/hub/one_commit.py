"""One commit: files put at a Hub together, sending only what is not there.

The client's own ``upload_folder`` makes several commits of a large folder, and whoever loads the model
meanwhile gets a mixture.
"""

import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (  # type: ignore[attr-defined] # public, not in __all__
    build_hf_headers,
    get_session,
)

from sparsezoo_hub.errors import HubError

# Of a Hub that answers "regular" to whoever does not ask: then a file is an upload of its own, and those that
# arrived before a line broke need not be sent again.
_BY_LFS = {"X-Upload-Mode": "lfs"}
# The Hub's own file, which says what it keeps as large files.
ATTRIBUTES = ".gitattributes"
_STALE_PARENT = 412
_OK = 200
_NUM_RETRIES = 4

Outcome = TypeVar("Outcome")


def hub_api(endpoint: str | None = None, token: str | Literal[False] | None = None) -> HfApi:
    """Return the Hub's client for commits.

    Args:
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: by default the one of ``hf auth login`` or HF_TOKEN; False for none.
    """
    return HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub", headers=_BY_LFS)


def commit_files(
    api: HfApi,
    repo_id: str,
    files: Mapping[str, Path],
    *,
    branch: str,
    parent: str,
    delete: Collection[str],
    message: str,
    create_pr: bool = False,
) -> CommitInfo:
    """Commit files and deletions together; what is there already is not sent, nor what arrived before.

    Args:
        api: of ``hub_api``.
        repo_id: the repository.
        files: what to put there, by path in the repository.
        branch: which one moves.
        parent: the commit that it must stand at.
        delete: paths to delete.
        message: of the commit.
        create_pr: open a pull request against the branch instead.

    Returns:
        What the client says of the commit; without a change that is the branch's own.

    Raises:
        StaleParentError: if the branch moved on meanwhile; nothing is committed.
        HubError: if the Hub refuses the card.
        HfHubHTTPError: if it refuses otherwise.
    """
    with ExitStack() as opened:
        by_path = _has_xet(api, repo_id, branch)
        if not by_path:
            opened.enter_context(_without_advice())
        # hf_xet takes paths only: an opened file goes by LFS, which every Hub has. One after the other, so
        # that all but one of them are complete when the line breaks.
        additions = [
            CommitOperationAdd(
                name, str(path) if by_path else opened.enter_context(path.resolve().open("rb"))
            )
            for name, path in sorted(files.items())
        ]
        try:
            return api.create_commit(
                repo_id,
                [*(CommitOperationDelete(name, is_folder=False) for name in sorted(delete)), *additions],
                commit_message=message,
                revision=branch,
                parent_commit=parent,
                create_pr=create_pr,
                num_threads=5 if by_path else 1,
            )
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code == _STALE_PARENT:
                raise StaleParentError(repo_id, branch) from error
            raise
        except RuntimeError as error:  # the client's wrapping of an upload that failed
            raise error.__cause__ or error from None
        except ValueError as error:  # what the Hub's check of the card finds, or its LFS
            raise HubError(
                f"{repo_id}: {api.endpoint} refuses: {' '.join(str(error).split())}; mend the file and start "
                "the same command again"
            ) from None


def until_current(attempt: Callable[[], Outcome]) -> Outcome:
    """Return what ``attempt`` does, tried again from the start while others commit in between.

    Raises:
        StaleParentError: if they do it every time.
    """
    for _ in range(_NUM_RETRIES):
        with suppress(StaleParentError):
            return attempt()
    return attempt()


def commit_of(info: ModelInfo) -> str:
    """Return the commit that a Hub's answer is about.

    Raises:
        HubError: if the Hub does not say.
    """
    if info.sha is None:
        raise HubError(f"{info.id}: the Hub does not say at which commit it stands; ask whoever runs it")
    return info.sha


class StaleParentError(HubError):
    """A branch moved on between the look at it and the commit."""

    def __init__(self, repo_id: str, branch: str) -> None:
        super().__init__(
            f"{repo_id}: somebody else commits to {branch} all the time; look at what they do, then start "
            "the same command again"
        )


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the client from telling that an opened file does not go through Xet, which is the purpose."""
    log = logging.getLogger("huggingface_hub._commit_api")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # How the client hands an upload to httpx2; not ours to change.
            warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
            yield
    finally:
        log.setLevel(level)


def _has_xet(api: HfApi, repo_id: str, branch: str) -> bool:
    url = f"{api.endpoint}/api/models/{repo_id}/xet-write-token/{quote(branch, safe='')}"
    answer = get_session().get(url, headers=build_hf_headers(token=api.token), follow_redirects=False)
    return bool(answer.status_code == _OK)
