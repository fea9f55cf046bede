"""Listing the files and folders of a revision."""

from typing import Any
from urllib.parse import parse_qs, quote

from dulwich.repo import Repo
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import read_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import is_set, number_of, read_body, segment_of
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, entry_not_found
from sparsezoo_hub.hub.local_hub.revisions import find_commit
from sparsezoo_hub.hub.local_hub.trees import (
    Entry,
    describe_entries,
    find_entry,
    find_last_commits,
    list_entries,
)

MOST_ENTRIES = 1000
MOST_PATHS = 1000


def list_tree(request: Request) -> JSONResponse:
    """List a folder, a page at a time."""
    hub, repo_id = read_repo(request)
    revision = segment_of(request, "revision")
    folder = segment_of(request, "folder") if "folder" in request.path_params else ""
    recursive, expand = is_set(request, "recursive"), is_set(request, "expand")
    first = number_of(request, "cursor", 0, 1 << 40)
    count = max(1, number_of(request, "limit", MOST_ENTRIES, MOST_ENTRIES))
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, revision)
        commit_id = commit.id.decode()
        entries = list_entries(repo, commit, folder, recursive=recursive)
        if entries is None:
            raise entry_not_found(f"{repo_id} has no folder {folder!r} at {revision!r}", commit_id)
        page = entries[first : first + count]
        last = find_last_commits(repo, commit, page) if expand else None
        described = describe_entries(repo, page, last)
    headers = {"X-Repo-Commit": commit_id}
    if first + count < len(entries):
        # The next page is of this very commit, even if the branch moves on meanwhile.
        path = f"/api/models/{repo_id}/tree/{commit_id}" + (f"/{quote(folder, safe='')}" if folder else "")
        address = request.url.replace(path=path).include_query_params(cursor=first + count)
        headers["Link"] = f'<{address}>; rel="next"'
    return JSONResponse(described, headers=headers)


async def paths_info(request: Request) -> JSONResponse:
    """Describe the given paths; those that are not there are left out."""
    hub, repo_id = read_repo(request)
    revision = segment_of(request, "revision")
    try:
        form = parse_qs((await read_body(request)).decode(), max_num_fields=MOST_PATHS + 1)
    except ValueError:
        raise RefusalError(413, f"paths: at most {MOST_PATHS} can be asked for at once") from None
    paths = form.get("paths", [])
    expand = form.get("expand", ["false"])[0].lower() in {"1", "true"}

    def describe() -> list[dict[str, Any]]:
        with hub.repositories.opened(repo_id) as repo:
            return _describe_paths(repo, repo_id, revision, paths, expand=expand)

    return JSONResponse(await run_in_threadpool(describe))


def _describe_paths(
    repo: Repo, repo_id: str, revision: str, paths: list[str], *, expand: bool
) -> list[dict[str, Any]]:
    commit = find_commit(repo, repo_id, revision)
    found: list[Entry] = []
    for path in dict.fromkeys(path.strip("/") for path in paths):
        entry = find_entry(repo, commit, path) if path else None
        if entry is not None:
            found.append(entry)
    return describe_entries(repo, found, find_last_commits(repo, commit, found) if expand else None)


ROUTES = [
    Route("/api/models/{owner}/{name}/tree/{revision}", list_tree),
    Route("/api/models/{owner}/{name}/tree/{revision}/{folder:path}", list_tree),
    Route("/api/models/{owner}/{name}/paths-info/{revision}", paths_info, methods=["POST"]),
]
