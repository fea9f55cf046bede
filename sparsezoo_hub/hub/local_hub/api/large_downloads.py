"""Where git LFS downloads a repository's large files from: the addresses that all downloads have."""

import stat
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.repo import Repo
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from sparsezoo_hub.hub.local_hub.api.access import browse_repo
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, parse_pointer
from sparsezoo_hub.hub.local_hub.reachability import read_references

NOT_FOUND = 404


async def answer_downloads(request: Request, pointers: list[LfsPointer]) -> JSONResponse:
    """Tell, for every large file that a revision of the repository holds, where it can be downloaded.

    Args:
        request: the client's, whose token is good for the downloads too.
        pointers: what it asked for; what no revision holds is answered as not found.

    Raises:
        RefusalError: 401 or 404, if whoever asks may not see the repository.
    """

    def answer() -> list[dict[str, Any]]:
        hub, repo_id = browse_repo(request)
        with hub.repositories.opened(repo_id) as repo:
            places = find_large_files(repo, pointers)
        return [_answer(request, repo_id, pointer, places.get(pointer)) for pointer in pointers]

    objects = await run_in_threadpool(answer)
    return JSONResponse({"transfer": "basic", "objects": objects, "hash_algo": "sha256"})


def find_large_files(repo: Repo, pointers: Iterable[LfsPointer]) -> dict[LfsPointer, tuple[str, str]]:
    """Return, for every one of `pointers` that some revision holds, a commit's id and the path in it.

    Newer commits are looked at first; what several commits share is read once.
    """
    wanted = set(pointers)
    places: dict[LfsPointer, tuple[str, str]] = {}
    waiting = list(read_references(repo)[0].values())
    seen: set[ObjectID] = set()
    while waiting and wanted:
        _, commit = repo.object_store.peel(waiting.pop(0))
        if not isinstance(commit, Commit) or commit.id in seen:
            continue
        seen.add(commit.id)
        waiting.extend(commit.parents)
        folders = [(commit.tree, "")]
        while folders:
            oid, folder = folders.pop()
            found = repo.object_store[oid]
            if isinstance(found, Blob):
                pointer = parse_pointer(found.data)
                if pointer in wanted:
                    wanted.discard(pointer)
                    places[pointer] = commit.id.decode(), folder
            elif isinstance(found, Tree):
                for name, mode, inner in found.iteritems():
                    if inner not in seen and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                        seen.add(inner)
                        folders.append((inner, f"{folder}/{name.decode()}" if folder else name.decode()))
    return places


def _answer(
    request: Request, repo_id: str, pointer: LfsPointer, place: tuple[str, str] | None
) -> dict[str, Any]:
    answer: dict[str, Any] = {"oid": pointer.sha256, "size": pointer.size}
    if place is None:
        message = f"{repo_id} has no revision with the large file {pointer.sha256}"
        return answer | {"error": {"code": NOT_FOUND, "message": message}}
    commit, path = place
    download: dict[str, Any] = {"href": f"{request.base_url}{repo_id}/resolve/{commit}/{quote(path)}"}
    given = request.headers.get("authorization")
    if given is not None:
        download["header"] = {"Authorization": given}
    return answer | {"authenticated": given is not None, "actions": {"download": download}}
