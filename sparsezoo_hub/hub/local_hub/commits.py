"""Making a commit, and listing them."""

from itertools import islice
from typing import Any

from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.card_metadata import CARD_FILE, check_card
from sparsezoo_hub.hub.local_hub.commit_stream import AddFile, AddLarge, CommitRequest, Delete, Operation
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, is_large, parse_pointer
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, entry_not_found
from sparsezoo_hub.hub.local_hub.repositories import REGULAR_FILE, write_commit
from sparsezoo_hub.hub.local_hub.revisions import find_branch, find_pull_request, pull_request_number
from sparsezoo_hub.hub.local_hub.trees import (
    author_of,
    commit_date,
    iter_history,
    list_entries,
    split_message,
)

# A file of the tree to be: git's SHA-1 if it is there already, else what to write.
_Files = dict[str, ObjectID | AddFile | LfsPointer]


def make_commit(
    repo: Repo, repo_id: str, revision: str, request: CommitRequest, large_files: LargeFiles, author: str
) -> Commit:
    """Commit `request` to a branch, or to a pull request, and return the commit.

    Everything is checked before anything is written, and the branch moves last: a refusal or a kill leaves
    it where it was. A request that changes nothing returns the branch's commit, so that a client that
    repeats a commit whose answer was lost does no harm.

    Args:
        repo: the repository, locked for writing.
        repo_id: its id, for messages.
        revision: name of the branch, or full reference of the pull request.
        request: what the client sent.
        large_files: where large files are.
        author: name of the account that commits.

    Raises:
        RefusalError: 404 for a branch or a deleted file that is not there, 412 if the branch has moved on,
            400 for a large file that was not uploaded, a bad card, or a file in a folder's place.
    """
    num = pull_request_number(revision)
    if num is None:
        ref, head = find_branch(repo, repo_id, revision)
    else:
        ref, head = find_pull_request(repo, repo_id, num)
    head_id = head.id.decode()
    if request.parent is not None and not head_id.startswith(request.parent.lower()):
        raise RefusalError(
            412,
            f"the branch {revision!r} of {repo_id} stands at {head_id}, not at {request.parent}: somebody"
            " else committed meanwhile; look at their commit and try again",
        )
    tree = build_tree(repo, head, request, large_files)
    if tree == head.tree:
        return head
    return write_commit(repo, ref, tree, [head.id], request.message, author)


def build_tree(repo: Repo, start: Commit, request: CommitRequest, large_files: LargeFiles) -> ObjectID:
    """Return the tree that has the files of `start`, changed by `request`.

    Args:
        repo: the repository.
        start: the commit to begin from.
        request: what the client sent.
        large_files: where large files are.

    Raises:
        RefusalError: as `make_commit`; nothing was written then.
    """
    entries = list_entries(repo, start) or []
    files: _Files = {entry.path: entry.oid for entry in entries if not entry.is_folder}
    for operation in request.operations:
        _apply(files, operation, large_files, start.id.decode())
    _check_folders(files)

    blobs = []
    for path, content in files.items():
        oid = content if isinstance(content, bytes) else _write_blob(repo, content, large_files)
        blobs.append((path.encode(), oid, REGULAR_FILE))
    return commit_tree(repo.object_store, blobs)


def squash_history(repo: Repo, repo_id: str, branch: str, message: str, author: str) -> Commit:
    """Make a branch one commit that has its files and no past, and return the commit.

    Pull requests stay good: each knows what it was opened at.

    Raises:
        RefusalError: 404, if there is no such branch.
    """
    ref, head = find_branch(repo, repo_id, branch)
    return write_commit(repo, ref, head.tree, [], message, author)


def list_commits(repo: Repo, start: Commit, first: int, count: int) -> tuple[list[dict[str, Any]], bool]:
    """Return part of the history before `start`, the newest first, and whether there is more.

    Args:
        repo: the repository.
        start: the newest commit.
        first: how many commits to leave out.
        count: how many to return.
    """
    commits = list(islice(iter_history(repo, start), first, first + count + 1))
    described = []
    for commit in commits[:count]:
        title, message = split_message(commit)
        described.append(
            {
                "id": commit.id.decode(),
                "title": title,
                "message": message,
                "authors": [{"user": author_of(commit)}],
                "date": commit_date(commit),
            }
        )
    return described, len(commits) > count


def _apply(files: _Files, operation: Operation, large_files: LargeFiles, head: str) -> None:
    if isinstance(operation, AddLarge):
        files[operation.path] = _uploaded(operation.path, operation.sha256, operation.size, large_files)
    elif isinstance(operation, AddFile):
        files[operation.path] = _received(operation, large_files)
    elif operation.is_folder:
        inside = [path for path in files if path.startswith(f"{operation.path}/")]
        if not inside:
            raise entry_not_found(_missing("folder", operation), head)
        for path in inside:
            del files[path]
    elif files.pop(operation.path, None) is None:
        raise entry_not_found(_missing("file", operation), head)


def _missing(kind: str, operation: Delete) -> str:
    # The client looks for this wording, and adds its own advice to it.
    return f"A {kind} with this name doesn't exist: {operation.path!r} cannot be deleted"


def _received(operation: AddFile, large_files: LargeFiles) -> AddFile | LfsPointer:
    small = operation.content.small()
    if small is None:
        return operation
    if operation.path == CARD_FILE:
        check_card(small)
    # A file that reads like a pointer would be taken for one: then it must be a good one.
    pointer = parse_pointer(small)
    if pointer is None:
        return operation
    return _uploaded(operation.path, pointer.sha256, pointer.size, large_files)


def _uploaded(path: str, sha256: str, size: int | None, large_files: LargeFiles) -> LfsPointer:
    stored = large_files.size(sha256)
    if stored is None:
        raise RefusalError(
            400, f"{path}: its content {sha256} was not uploaded to this Hub: upload it, then commit"
        )
    if size is not None and size != stored:
        raise RefusalError(
            400, f"{path}: its content {sha256} has {stored} bytes, got a commit that says {size}"
        )
    return LfsPointer(sha256, stored)


def _check_folders(files: _Files) -> None:
    for path in files:
        folder = path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in files:
                raise RefusalError(
                    400, f"{folder!r} cannot be a file and a folder at once: delete the file first"
                )


def _write_blob(repo: Repo, content: AddFile | LfsPointer, large_files: LargeFiles) -> ObjectID:
    if isinstance(content, AddFile):
        small = content.content.small()
        if small is None or is_large(content.path, small, len(small)):
            data = content.content.keep_large().to_bytes()
        else:
            data = small
    else:
        data = content.to_bytes()
    blob = Blob.from_string(data)
    repo.object_store.add_object(blob)
    return blob.id
