"""Downloading the files of a revision."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import read_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import segment_of
from sparsezoo_hub.hub.local_hub.byte_ranges import parse_range
from sparsezoo_hub.hub.local_hub.large_files import READ_SIZE
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, entry_not_found, repository_not_found
from sparsezoo_hub.hub.local_hub.revisions import find_commit
from sparsezoo_hub.hub.local_hub.trees import find_entry, read_file


def resolve(request: Request) -> Response:
    """Send a file, or the part of it that is asked for; large files come from the disk piece by piece."""
    hub, repo_id = read_repo(request)
    revision, path = segment_of(request, "revision"), segment_of(request, "path")
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, revision)
        commit_id = commit.id.decode()
        entry = find_entry(repo, commit, path)
        if entry is None or entry.is_folder:
            raise entry_not_found(f"{repo_id} has no file {path!r} at {revision!r}", commit_id)
        content = read_file(repo, entry)
    headers = {
        "X-Repo-Commit": commit_id,
        "ETag": f'"{entry.oid.decode()}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}",
        # A file is what its author made it: a browser must neither guess its type nor run it.
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    source: Path | bytes = content.blob
    if content.pointer is not None:
        sha256 = content.pointer.sha256
        source = hub.large_files.path(sha256)
        if hub.large_files.size(sha256) != content.size:
            raise RefusalError(
                500, f"{repo_id}/{path}: its content {sha256} is not whole on this Hub: push it again"
            )
        headers |= {"ETag": f'"{sha256}"', "X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(content.size)}
    part = parse_range(request.headers.get("range"), content.size)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{content.size}"
    positions = range(content.size) if part is None else part
    headers["Content-Length"] = str(len(positions))
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    if isinstance(source, bytes):
        return Response(source[positions.start : positions.stop], status, headers)
    return StreamingResponse(_pieces(source, positions), status, headers)


def unowned_file(request: Request) -> Response:
    """Refuse a repository id without an owner, as one that is not here."""
    raise repository_not_found(segment_of(request, "name"))


def _pieces(path: Path, positions: range) -> Iterator[bytes]:
    left = len(positions)
    with path.open("rb") as file:
        file.seek(positions.start)
        while left and (piece := file.read(min(READ_SIZE, left))):
            left -= len(piece)
            yield piece


ROUTES = [
    Route("/{owner}/{name}/resolve/{revision}/{path:path}", resolve),
    Route("/{name}/resolve/{revision}/{path:path}", unowned_file),
]
