"""Talking about a repository: discussions and pull requests."""

from collections.abc import Callable, Mapping, Set
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import account_of, contribute_repo, read_repo, write_repo
from sparsezoo_hub.hub.local_hub.api.proposals import is_theirs
from sparsezoo_hub.hub.local_hub.api.request_parts import (
    is_set,
    number_of,
    read_json,
    segment_of,
)
from sparsezoo_hub.hub.local_hub.discussion_store import list_discussions, next_number, write_discussion
from sparsezoo_hub.hub.local_hub.discussions import (
    Comment,
    Discussion,
    StatusChange,
    TitleChange,
    change_status,
    check_comment,
    check_title,
    describe_discussion,
    describe_event,
    edit_comment,
    find_comment,
    hide_comment,
    new_comment,
    new_discussion,
    rename,
)
from sparsezoo_hub.hub.local_hub.proposals import propose_draft
from sparsezoo_hub.hub.local_hub.pull_requests import (
    describe_details,
    load_discussion,
    merge_pull_request,
    settle,
)
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

_T = TypeVar("_T")

PAGE = 50
_MOST_DIGITS = 9
_KINDS = {"all": {True, False}, "discussion": {False}, "pull_request": {True}}
# As on the public Hub: what may still be merged is open, what was merged is closed.
_STATUSES = {
    "all": {"draft", "open", "closed", "merged"},
    "open": {"draft", "open"},
    "closed": {"closed", "merged"},
}


def list_all(request: Request) -> JSONResponse:
    """List the discussions and pull requests that the filters select, the newest first, a page at a time."""
    hub, repo_id = read_repo(request)
    kinds, statuses = _filter(request, "type", _KINDS), _filter(request, "status", _STATUSES)
    author = request.query_params.get("author")
    first = PAGE * number_of(request, "p", 0, 1 << 20)
    with hub.repositories.opened(repo_id) as repo:
        found = [settle(repo, discussion) for discussion in list_discussions(repo)]
    selected = [
        discussion
        for discussion in found
        if (discussion.pull_request is not None) in kinds
        and discussion.status in statuses
        and author in {None, discussion.author}
    ]
    page = [describe_discussion(discussion, repo_id) for discussion in selected[first : first + PAGE]]
    num_closed = sum(discussion.status in _STATUSES["closed"] for discussion in found)
    answer = {"discussions": page, "count": len(selected), "start": first, "numClosedDiscussions": num_closed}
    return JSONResponse(answer)


def details(request: Request) -> JSONResponse:
    """Tell everything about one discussion or pull request."""
    hub, repo_id = read_repo(request)
    num = _number(request)
    with hub.repositories.opened(repo_id) as repo:
        discussion = load_discussion(repo, repo_id, num)
        return JSONResponse(describe_details(repo, repo_id, discussion, diff=is_set(request, "diff")))


async def create(request: Request) -> JSONResponse:
    """Open a discussion, or a pull request that has no commit yet."""
    hub, repo_id = contribute_repo(request)
    author, body = account_of(request).name, await read_json(request)
    title, description = check_title(body.get("title")), check_comment(body.get("description"), "description")

    def open_it() -> Discussion:
        with hub.repositories.locked(repo_id) as repo:
            if body.get("pullRequest") is True:
                return propose_draft(repo, repo_id, title, description, author)
            discussion = new_discussion(next_number(repo), title, description, author, None, "open")
            write_discussion(repo, discussion)
            return discussion

    discussion = await run_in_threadpool(open_it)
    url = f"{request.base_url}{repo_id}/discussions/{discussion.num}"
    is_pull_request = discussion.pull_request is not None
    return JSONResponse({"num": discussion.num, "url": url, "pullRequest": is_pull_request})


async def comment(request: Request) -> JSONResponse:
    """Say something."""
    contribute_repo(request)
    event = new_comment(check_comment((await read_json(request)).get("comment")), account_of(request).name)
    await _changed(request, lambda discussion, _: discussion.events.append(event))
    return JSONResponse({"newMessage": describe_event(event)})


async def edit(request: Request) -> JSONResponse:
    """Let one's own comment say something else."""
    contribute_repo(request)
    text = check_comment((await read_json(request)).get("content"), "content")
    comment_id, author = segment_of(request, "comment"), account_of(request).name

    def change(discussion: Discussion, _: str) -> Comment:
        found = find_comment(discussion, comment_id)
        if found.author != author:
            raise RefusalError(403, f"comment {comment_id} is {found.author!r}'s: nobody else can edit it")
        edit_comment(found, text, author)
        return found

    return JSONResponse({"updatedComment": describe_event(await _changed(request, change))})


async def hide(request: Request) -> JSONResponse:
    """Take away what a comment says: for who said it, and for the repository's owner."""
    contribute_repo(request)
    comment_id, account = segment_of(request, "comment"), account_of(request)

    def change(discussion: Discussion, repo_id: str) -> Comment:
        found = find_comment(discussion, comment_id)
        if found.author != account.name and not account.may_write(repo_id):
            raise RefusalError(
                403,
                f"comment {comment_id} is {found.author!r}'s: ask them or the repository's owner to hide it",
            )
        hide_comment(found, account.name)
        return found

    return JSONResponse({"updatedComment": describe_event(await _changed(request, change))})


async def set_title(request: Request) -> JSONResponse:
    """Give it another title: for who opened it, and for the repository's owner."""
    contribute_repo(request)
    title = check_title((await read_json(request)).get("title"))

    def change(discussion: Discussion, repo_id: str) -> TitleChange:
        _check_theirs(request, repo_id, discussion)
        return rename(discussion, title, account_of(request).name)

    return JSONResponse({"newTitle": describe_event(await _changed(request, change))})


async def set_status(request: Request) -> JSONResponse:
    """Open it, or close it: for who opened it, and for the repository's owner."""
    contribute_repo(request)
    body, author = await read_json(request), account_of(request).name
    said = None if body.get("comment") is None else check_comment(body["comment"])

    def change(discussion: Discussion, repo_id: str) -> StatusChange:
        _check_theirs(request, repo_id, discussion)
        event = change_status(discussion, str(body.get("status")), author)
        if said is not None:
            discussion.events.append(new_comment(said, author))
        return event

    return JSONResponse({"newStatus": describe_event(await _changed(request, change))})


async def merge(request: Request) -> JSONResponse:
    """Bring a pull request into its branch: for the repository's owner."""
    hub, repo_id = write_repo(request)
    num, author = _number(request), account_of(request).name
    # The client sends no body at all without a comment.
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    text = (await read_json(request)).get("comment") if has_body else None
    said = None if text is None else check_comment(text)

    def bring() -> str:
        with hub.repositories.locked(repo_id) as repo:
            return merge_pull_request(repo, repo_id, load_discussion(repo, repo_id, num), said, author)

    return JSONResponse({"merged": True, "mergeCommitId": await run_in_threadpool(bring)})


async def _changed(request: Request, change: Callable[[Discussion, str], _T]) -> _T:
    """Let `change` change the discussion that the address names, and return what it returns."""
    hub, repo_id = contribute_repo(request)
    num = _number(request)

    def apply() -> _T:
        with hub.repositories.locked(repo_id) as repo:
            discussion = load_discussion(repo, repo_id, num)
            result = change(discussion, repo_id)
            write_discussion(repo, discussion)
            return result

    return await run_in_threadpool(apply)


def _check_theirs(request: Request, repo_id: str, discussion: Discussion) -> None:
    if not is_theirs(request, repo_id, discussion):
        raise RefusalError(
            403,
            f"{discussion.num} is {discussion.author!r}'s: only they and the repository's owner can do this",
        )


def _number(request: Request) -> int:
    text = segment_of(request, "num")
    if not text.isascii() or not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise RefusalError(404, f"{text!r} is no discussion's number: it must be a whole number from 1 on")
    return int(text)


def _filter(request: Request, name: str, known: Mapping[str, Set[_T]]) -> Set[_T]:
    value = request.query_params.get(name, "all")
    if value not in known:
        raise RefusalError(400, f"{name}={value!r}: must be one of {', '.join(known)}")
    return known[value]


_ONE = "/api/models/{owner}/{name}/discussions/{num}"
ROUTES = [
    Route("/api/models/{owner}/{name}/discussions", list_all),
    Route("/api/models/{owner}/{name}/discussions", create, methods=["POST"]),
    Route(_ONE, details),
    Route(f"{_ONE}/comment", comment, methods=["POST"]),
    Route(f"{_ONE}/comment/{{comment}}/edit", edit, methods=["POST"]),
    Route(f"{_ONE}/comment/{{comment}}/hide", hide, methods=["POST"]),
    Route(f"{_ONE}/title", set_title, methods=["POST"]),
    Route(f"{_ONE}/status", set_status, methods=["POST"]),
    Route(f"{_ONE}/merge", merge, methods=["POST"]),
]
