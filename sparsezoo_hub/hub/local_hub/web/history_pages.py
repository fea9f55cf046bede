"""The history of a repository: its commits, branches and tags, and what a commit changed."""

from dataclasses import dataclass

from dulwich.objects import Commit
from dulwich.repo import Repo
from starlette.requests import Request
from starlette.responses import Response

from sparsezoo_hub.hub.local_hub.api.access import read_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import number_of, segment_of
from sparsezoo_hub.hub.local_hub.commits import list_commits
from sparsezoo_hub.hub.local_hub.merges import text_diff
from sparsezoo_hub.hub.local_hub.revisions import find_commit, list_references
from sparsezoo_hub.hub.local_hub.trees import (
    Entry,
    author_of,
    commit_date,
    list_entries,
    parent_of,
    read_file,
    split_message,
)
from sparsezoo_hub.hub.local_hub.web.rendering import page, repo_page
from sparsezoo_hub.hub.local_hub.web.texts import text_lines

PER_PAGE = 50
MOST_CHANGES = 300


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to one file; None where there is no such file."""

    path: str
    before: Entry | None
    after: Entry | None


@page
def history_page(request: Request) -> Response:
    """Show the commits up to a revision, and all branches and tags."""
    hub, repo_id = read_repo(request)
    revision, number = segment_of(request, "revision"), number_of(request, "p", 0, 1 << 20)
    with hub.repositories.opened(repo_id) as repo:
        start = find_commit(repo, repo_id, revision)
        commits, more = list_commits(repo, start, number * PER_PAGE, PER_PAGE)
        references = list_references(repo)
    return repo_page(
        request,
        "history.html",
        hub,
        repo_id,
        revision,
        commits=commits,
        more=more,
        number=number,
        references=references,
    )


@page
def commit_page(request: Request) -> Response:
    """Show what a commit changed."""
    hub, repo_id = read_repo(request)
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, segment_of(request, "revision"))
        parent = parent_of(repo, commit)
        changes = _changes(repo, commit, parent)
        shown = [
            (change.path, _size(repo, change.before), _size(repo, change.after))
            for change in changes[:MOST_CHANGES]
        ]
        text = "" if parent is None else text_diff(repo, parent, commit)
    title, message = split_message(commit)
    diff, num_diff_lines = text_lines(text)
    return repo_page(
        request,
        "commit.html",
        hub,
        repo_id,
        commit.id.decode(),
        title=title,
        message=message,
        date=commit_date(commit),
        parents=[oid.decode() for oid in commit.parents],
        author=author_of(commit),
        changes=shown,
        num_changes=len(changes),
        diff=diff,
        num_diff_lines=num_diff_lines,
    )


def _changes(repo: Repo, commit: Commit, parent: Commit | None) -> list[Change]:
    after = _files(repo, commit)
    before = {} if parent is None else _files(repo, parent)
    return [
        Change(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if _oid(before.get(path)) != _oid(after.get(path))
    ]


def _files(repo: Repo, commit: Commit) -> dict[str, Entry]:
    return {entry.path: entry for entry in list_entries(repo, commit) or [] if not entry.is_folder}


def _oid(entry: Entry | None) -> bytes | None:
    return None if entry is None else entry.oid


def _size(repo: Repo, entry: Entry | None) -> int | None:
    return None if entry is None else read_file(repo, entry).size
