"""The files of a revision: folders, single files, pictures."""

import math
from pathlib import PurePosixPath

from dulwich.objects import Commit
from dulwich.repo import Repo
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sparsezoo_hub.hub.local_hub.api.access import read_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import number_of, segment_of
from sparsezoo_hub.hub.local_hub.refusals import entry_not_found
from sparsezoo_hub.hub.local_hub.revisions import find_commit, list_references
from sparsezoo_hub.hub.local_hub.trees import (
    Entry,
    commit_date,
    describe_entries,
    find_entry,
    list_entries,
    split_message,
)
from sparsezoo_hub.hub.local_hub.web.addresses import repo_address
from sparsezoo_hub.hub.local_hub.web.card_html import PICTURE_TYPES, is_picture
from sparsezoo_hub.hub.local_hub.web.facts import read_small
from sparsezoo_hub.hub.local_hub.web.rendering import SECURITY_HEADERS, page, repo_page
from sparsezoo_hub.hub.local_hub.web.texts import text_lines

PER_PAGE = 500
LARGEST_TEXT = 512 << 10
LARGEST_PICTURE = 16 << 20

_MAGIC = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


@page
def tree_page(request: Request) -> Response:
    """Show a folder of a revision."""
    hub, repo_id = read_repo(request)
    revision = segment_of(request, "revision")
    folder = segment_of(request, "path").strip("/") if "path" in request.path_params else ""
    number = number_of(request, "p", 0, 1 << 20)
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, revision)
        entries = list_entries(repo, commit, folder, recursive=False)
        if entries is None:
            entry = _entry(repo, commit, repo_id, revision, folder)
            return RedirectResponse(repo_address(repo_id, "blob", revision, entry.path))
        entries.sort(key=lambda entry: not entry.is_folder)
        shown = describe_entries(repo, entries[number * PER_PAGE : (number + 1) * PER_PAGE])
        references = list_references(repo)
    return repo_page(
        request,
        "tree.html",
        hub,
        repo_id,
        revision,
        path=folder,
        head=_commit_words(commit),
        entries=shown,
        num_entries=len(entries),
        number=number,
        num_pages=max(1, math.ceil(len(entries) / PER_PAGE)),
        references=references,
    )


@page
def blob_page(request: Request) -> Response:
    """Show a file of a revision: what it is, and its text if it is one."""
    hub, repo_id = read_repo(request)
    revision, path = segment_of(request, "revision"), segment_of(request, "path")
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, revision)
        entry = _entry(repo, commit, repo_id, revision, path)
        if entry.is_folder:
            return RedirectResponse(repo_address(repo_id, "tree", revision, entry.path))
        described = describe_entries(repo, [entry])[0]
        content = read_small(repo, commit, path, LARGEST_TEXT, hub.large_files)
    text = None if content is None or is_picture(path) else _text_of(content)
    lines, num_lines = text_lines(text or "")
    return repo_page(
        request,
        "blob.html",
        hub,
        repo_id,
        revision,
        path=path,
        head=_commit_words(commit),
        file=described,
        is_picture=is_picture(path) and described["size"] <= LARGEST_PICTURE,
        is_text=text is not None,
        lines=lines,
        num_lines=num_lines,
        largest_text=LARGEST_TEXT,
    )


@page
def picture(request: Request) -> Response:
    """Send a picture of a revision, under the type that its first bytes say too."""
    hub, repo_id = read_repo(request)
    revision, path = segment_of(request, "revision"), segment_of(request, "path")
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, revision)
        content = read_small(repo, commit, path, LARGEST_PICTURE, hub.large_files)
    kind = PICTURE_TYPES.get(PurePosixPath(path).suffix.lower())
    if content is None or kind is None or not content.startswith(_MAGIC[kind]):
        raise entry_not_found(f"{repo_id} has no picture {path!r} at {revision!r}")
    headers = {**SECURITY_HEADERS, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    return Response(content, media_type=kind, headers=headers)


def _entry(repo: Repo, commit: Commit, repo_id: str, revision: str, path: str) -> Entry:
    entry = find_entry(repo, commit, path)
    if entry is None:
        raise entry_not_found(f"{repo_id} has no file or folder {path!r} at {revision!r}", commit.id.decode())
    return entry


def _commit_words(commit: Commit) -> dict[str, str]:
    return {"id": commit.id.decode(), "title": split_message(commit)[0], "date": commit_date(commit)}


def _text_of(content: bytes) -> str | None:
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
