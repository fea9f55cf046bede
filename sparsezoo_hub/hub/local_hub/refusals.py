"""What the Hub refuses, as an exception, and how a client is told."""

import errno
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sparsezoo_hub.errors import HubError


class RefusalError(HubError):
    """A request that the Hub refuses.

    Args:
        status: HTTP status, 4xx or 5xx.
        message: one sentence for the user: what, where, what was got, what to do.
        code: the client's error code (`RepoNotFound`, `RevisionNotFound`, `EntryNotFound`), if one fits.
        headers: further response headers.
        details: further fields of the JSON body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})
        self.details = dict(details or {})


def repository_not_found(repo_id: str) -> RefusalError:
    """The refusal for a repository that is not here."""
    return RefusalError(
        404, f"this Hub has no model repository {repo_id!r}: create it first", code="RepoNotFound"
    )


def revision_not_found(repo_id: str, revision: str) -> RefusalError:
    """The refusal for a revision that is neither a branch, a tag nor a commit."""
    message = f"{repo_id} has no branch, tag or commit {revision!r}: list them with list_repo_refs"
    return RefusalError(404, message, code="RevisionNotFound")


def entry_not_found(message: str, commit: str | None = None) -> RefusalError:
    """The refusal for a file or folder that a revision does not hold."""
    # The client remembers a file's absence per commit, and needs to be told which commit it was.
    headers = {} if commit is None else {"X-Repo-Commit": commit}
    return RefusalError(404, message, code="EntryNotFound", headers=headers)


async def answer_refusal(_: Request, refusal: Exception) -> JSONResponse:
    """The JSON response for a `RefusalError`: the same sentence in the body and in `X-Error-Message`."""
    if not isinstance(refusal, RefusalError):
        raise refusal
    # A header carries latin-1 on one line; the body has the sentence unchanged.
    one_line = " ".join(refusal.message.split()).encode("ascii", "backslashreplace").decode("ascii")
    headers = {"X-Error-Message": one_line, **refusal.headers}
    if refusal.code is not None:
        headers["X-Error-Code"] = refusal.code
    return JSONResponse({"error": refusal.message, **refusal.details}, refusal.status, headers)


async def answer_unknown_route(request: Request, error: Exception) -> JSONResponse:
    """The response where no route fits, or not with this method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    message = (
        f"this Hub does not answer {request.method} {request.url.path}: it holds model repositories only"
    )
    return await answer_refusal(request, RefusalError(status, message))


async def answer_nobody(_: Request, __: Exception) -> Response:
    """The response when the client went away in the middle of its request: nobody reads it."""
    return Response(status_code=400)


async def answer_full_disk(request: Request, error: Exception) -> JSONResponse:
    """The response when the disk is full; any other `OSError` is a defect and goes on."""
    if not isinstance(error, OSError) or error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        raise error
    message = "the disk that holds this Hub is full: nothing was changed; free some space and try again"
    return await answer_refusal(request, RefusalError(507, message))
