"""How the client is told to upload: before a commit, file by file.

The client asks for every file whether it is to come inside the commit ("regular") or by itself ("lfs").
With hf_xet installed, which is its default, it sends an "lfs" file through Xet and never by LFS, and does
not tell beforehand. So files up to `MAX_INLINE` come inside the commit, and are kept as large files here.
A client that uploads by LFS can ask for that with the header `X-Upload-Mode: lfs`, and needs less memory.

There is no Xet storage here. hf_xet could be told to use a folder (`local://...`), but then the client itself
would write into it: only on this machine, as whoever runs it, past tokens, private repositories and limits.
"""

import base64
from typing import Any

from dulwich.ignore import IgnoreFilter
from dulwich.objects import Commit
from dulwich.repo import Repo
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.proposals import committed_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import read_json, segment_of
from sparsezoo_hub.hub.local_hub.file_sizes import check_file_size
from sparsezoo_hub.hub.local_hub.inline_content import MAX_INLINE
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.lfs_pointer import is_large
from sparsezoo_hub.hub.local_hub.names import check_file_path, is_unicode
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.revisions import find_commit
from sparsezoo_hub.hub.local_hub.trees import find_entry, read_file

MODE_HEADER = "X-Upload-Mode"
NO_XET_PATH = (
    f"/this-Hub-has-no-Xet-storage--set-HF_HUB_DISABLE_XET=1-to-push-files-over-{MAX_INLINE >> 20}-MiB"
)


async def preupload(request: Request) -> JSONResponse:
    """Tell, for every file, how to send it, whether to ignore it, and what is there already."""
    revision = segment_of(request, "revision")
    hub, repo_id = committed_repo(request, revision)
    body = await read_json(request)
    files, rules = body.get("files"), body.get("gitIgnore")
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise RefusalError(400, f"files must be a list with path, sample and size, got {files!r:.80}")
    if isinstance(rules, str) and not is_unicode(rules):
        raise RefusalError(400, "gitIgnore must be valid Unicode, and is not")
    prefers_lfs = request.headers.get(MODE_HEADER) == "lfs"

    def answer() -> list[dict[str, Any]]:
        with hub.repositories.opened(repo_id) as repo:
            commit = find_commit(repo, repo_id, revision)
            ignored = _ignore_rules(repo, commit, rules)
            plans = [
                _plan(repo, commit, file, ignored, hub.large_files, prefers_lfs=prefers_lfs) for file in files
            ]
        for file in files:
            check_file_size(file["path"], file["size"], hub.largest_file)
        return plans

    return JSONResponse({"files": await run_in_threadpool(answer)})


def xet_token(_: Request) -> RedirectResponse:
    """Send a client that wants Xet to an address that says what to do.

    hf_xet shows nothing of a refusal but its status and its address.
    """
    return RedirectResponse(NO_XET_PATH)


def no_xet(_: Request) -> JSONResponse:
    """Refuse Xet; hf_xet gives up at once on this status, and would retry for minutes on others."""
    raise RefusalError(
        400,
        f"this Hub has no Xet storage: set HF_HUB_DISABLE_XET=1 to push files over {MAX_INLINE >> 20} MiB",
    )


def _plan(
    repo: Repo,
    commit: Commit,
    file: dict[str, Any],
    ignored: IgnoreFilter,
    large_files: LargeFiles,
    *,
    prefers_lfs: bool,
) -> dict[str, Any]:
    path, size = check_file_path(file.get("path")), file.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RefusalError(400, f"{path}: size must be a number of bytes, got {size!r}")
    try:
        sample = base64.b64decode(str(file.get("sample", "")), validate=True)
    except ValueError:
        raise RefusalError(400, f"{path}: sample must be base64") from None
    by_lfs = size > MAX_INLINE or (prefers_lfs and is_large(path, sample, size))
    plan: dict[str, Any] = {
        "path": path,
        "uploadMode": "lfs" if by_lfs else "regular",
        "shouldIgnore": _is_ignored(ignored, path),
    }
    entry = find_entry(repo, commit, path)
    if entry is None or entry.is_folder:
        return plan
    # The client leaves a file out if it would give it this id: a SHA-256 for "lfs", git's SHA-1 otherwise.
    stored = read_file(repo, entry)
    if stored.size == size and stored.pointer is None and not by_lfs:
        plan["oid"] = entry.oid.decode()
    elif stored.size == size and stored.pointer is not None:
        sha256 = stored.pointer.sha256
        plan["oid"] = sha256 if by_lfs else large_files.git_oid(sha256)
    return plan


def _ignore_rules(repo: Repo, commit: Commit, sent: Any) -> IgnoreFilter:
    rules = sent.encode() if isinstance(sent, str) else b""
    if not isinstance(sent, str):
        entry = find_entry(repo, commit, ".gitignore")
        if entry is not None and not entry.is_folder:
            rules = read_file(repo, entry).blob
    return IgnoreFilter(line for line in rules.splitlines() if line.strip() and not line.startswith(b"#"))


def _is_ignored(rules: IgnoreFilter, path: str) -> bool:
    parts = path.split("/")
    folders = ["/".join(parts[:count]) + "/" for count in range(1, len(parts))]
    return any(rules.is_ignored(name) for name in [*folders, path])


ROUTES = [
    Route("/api/models/{owner}/{name}/preupload/{revision}", preupload, methods=["POST"]),
    Route("/api/models/{owner}/{name}/xet-write-token/{revision}", xet_token),
    Route(NO_XET_PATH, no_xet),
]
