"""Discussions and pull requests: what is said about a repository, in the order it was said."""

import html
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sparsezoo_hub.hub.local_hub.names import is_unicode
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import DATE_FORMAT

MAX_TITLE = 300
MAX_COMMENT = 65_536
HIDDEN_TEXT = "This comment has been hidden"

Status = Literal["draft", "open", "closed", "merged"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Version(_Record):
    """What a comment said from `date` on, until it was edited again."""

    text: str
    author: str
    date: str


class Comment(_Record):
    """A comment, whose last version counts; the first one of a discussion is its description."""

    type: Literal["comment"] = "comment"
    id: str
    author: str
    date: str
    versions: list[Version]
    hidden: bool = False


class StatusChange(_Record):
    """Somebody opened, closed or merged it."""

    type: Literal["status-change"] = "status-change"
    id: str
    author: str
    date: str
    status: Status


class TitleChange(_Record):
    """Somebody gave it another title."""

    type: Literal["title-change"] = "title-change"
    id: str
    author: str
    date: str
    old: str
    new: str


Event = Annotated[Comment | StatusChange | TitleChange, Field(discriminator="type")]


class Merging(_Record):
    """A merge that was begun: it has happened if the branch holds a commit of `tree` on `parent`."""

    parent: str
    tree: str
    events: list[Event]


class PullRequest(_Record):
    """What a pull request has beyond a discussion; its commits are those from `base` to its reference.

    Args:
        branch: the branch that it wants to change.
        base: the commit that it was opened at.
        merging: a merge that was begun.
        merge_commit: the commit that brought it into the branch.
    """

    branch: str
    base: str
    merging: Merging | None = None
    merge_commit: str | None = None


class Discussion(_Record):
    """A discussion, or a pull request if it has one.

    Args:
        num: its number in its repository, from 1 on.
        title: one line.
        author: name of the account that opened it.
        date: when it was opened, in ISO 8601.
        status: only pull requests are ever drafts or merged.
        events: what has happened since, in order; the commits of a pull request stand in git.
        pull_request: None for a mere discussion.
    """

    num: int
    title: str
    author: str
    date: str
    status: Status
    events: list[Event]
    pull_request: PullRequest | None = None


def new_discussion(
    num: int, title: str, description: str, author: str, pull_request: PullRequest | None, status: Status
) -> Discussion:
    """Return a discussion that begins with `description`."""
    first = new_comment(description, author)
    return Discussion(
        num=num,
        title=title,
        author=author,
        date=first.date,
        status=status,
        events=[first],
        pull_request=pull_request,
    )


def new_comment(text: str, author: str) -> Comment:
    """Return a comment made now."""
    date = now()
    return Comment(
        id=new_id(), author=author, date=date, versions=[Version(text=text, author=author, date=date)]
    )


def rename(discussion: Discussion, title: str, author: str) -> TitleChange:
    """Give it another title, and return the event."""
    event = TitleChange(id=new_id(), author=author, date=now(), old=discussion.title, new=title)
    discussion.title = title
    discussion.events.append(event)
    return event


def change_status(discussion: Discussion, status: str, author: str) -> StatusChange:
    """Open or close it, and return the event; opening a draft publishes it.

    Raises:
        RefusalError: 400 for another status, 409 if it was merged.
    """
    if status not in {"open", "closed"}:
        raise RefusalError(
            400, f"status must be 'open' or 'closed', got {status!r}; merge by merge_pull_request"
        )
    if discussion.status == "merged":
        raise RefusalError(409, f"pull request {discussion.num} was merged, and stays so: open a new one")
    discussion.status = "open" if status == "open" else "closed"
    event = StatusChange(id=new_id(), author=author, date=now(), status=discussion.status)
    discussion.events.append(event)
    return event


def find_comment(discussion: Discussion, comment_id: str) -> Comment:
    """Return the comment with this id.

    Raises:
        RefusalError: 404, if there is none; 409, if it was hidden.
    """
    for event in discussion.events:
        if isinstance(event, Comment) and event.id == comment_id:
            if event.hidden:
                raise RefusalError(409, f"comment {comment_id} was hidden, and its text with it")
            return event
    raise RefusalError(404, f"discussion {discussion.num} has no comment {comment_id!r}: see its events")


def edit_comment(comment: Comment, text: str, author: str) -> None:
    """Let a comment say `text` from now on; what it said before stays in its history."""
    comment.versions.append(Version(text=text, author=author, date=now()))


def hide_comment(comment: Comment, author: str) -> None:
    """Take a comment's text away for good, as the client promises its user."""
    comment.hidden = True
    comment.versions = [Version(text=HIDDEN_TEXT, author=author, date=now())]


def check_title(title: object) -> str:
    """Return `title` in one line.

    Raises:
        RefusalError: 400, if it is none.
    """
    if not isinstance(title, str) or not title.strip() or len(title) > MAX_TITLE or not is_unicode(title):
        raise RefusalError(400, f"title must be a text of 1 to {MAX_TITLE} characters, got {title!r:.80}")
    return " ".join(title.split())


def check_comment(text: object, name: str = "comment") -> str:
    """Return `text`.

    Raises:
        RefusalError: 400, if no comment may say it.
    """
    if not isinstance(text, str) or not text.strip() or not is_unicode(text):
        raise RefusalError(400, f"{name} must be a text that is not empty, got {text!r:.80}")
    if len(text) > MAX_COMMENT:
        raise RefusalError(400, f"{name} must have at most {MAX_COMMENT} characters, got {len(text)}")
    return text


def describe_discussion(discussion: Discussion, repo_id: str) -> dict[str, Any]:
    """Return a discussion without its events, as the client expects it."""
    return {
        "num": discussion.num,
        "title": discussion.title,
        "author": _account(discussion.author),
        "repo": {"name": repo_id, "type": "model"},
        "createdAt": discussion.date,
        "status": discussion.status,
        "isPullRequest": discussion.pull_request is not None,
        "numComments": sum(isinstance(event, Comment) for event in discussion.events),
        "pinned": False,
    }


def describe_event(event: Comment | StatusChange | TitleChange) -> dict[str, Any]:
    """Return an event, as the client expects it."""
    data: dict[str, Any]
    if isinstance(event, Comment):
        versions = [_describe_version(version) for version in event.versions]
        data = {
            "edited": len(versions) > 1,
            "hidden": event.hidden,
            "numEdits": len(versions) - 1,
            "latest": versions[-1],
            "history": versions[:-1],
        }
    elif isinstance(event, StatusChange):
        data = {"status": event.status}
    else:
        data = {"from": event.old, "to": event.new}
    return event_fields(event.id, event.type, event.author, event.date, data)


def event_fields(event_id: str, kind: str, author: str, date: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return what the client expects of every event."""
    return {"id": event_id, "type": kind, "author": _account(author), "createdAt": date, "data": data}


def now() -> str:
    """Return the present in ISO 8601."""
    return datetime.now(UTC).strftime(DATE_FORMAT)


def new_id() -> str:
    """Return the id of a new event."""
    return secrets.token_hex(12)


def _describe_version(version: Version) -> dict[str, Any]:
    # The text may be anybody's: as HTML it is shown as it was written, and does nothing.
    shown = html.escape(version.text).replace("\n", "<br>")
    return {
        "raw": version.text,
        "html": f"<p>{shown}</p>",
        "updatedAt": version.date,
        "author": _account(version.author),
    }


def _account(name: str) -> dict[str, str]:
    return {"name": name, "type": "user"}
