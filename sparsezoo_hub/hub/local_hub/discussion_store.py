"""Where discussions are kept: one JSON file each, inside the repository's folder.

So they move, and are deleted, with the repository. A file is written aside, synced and moved into place: a
kill at any moment leaves it as it was or as it is meant to be. Only who holds the repository's lock writes.
"""

import os
from pathlib import Path

from dulwich.repo import Repo
from pydantic import ValidationError

from sparsezoo_hub.hub.local_hub.discussions import Discussion
from sparsezoo_hub.hub.local_hub.large_files import sync_folder
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

FOLDER = "discussions"
# All that was ever said in one discussion: it is read and written as a whole.
MAX_RECORD = 8 << 20


def list_discussions(repo: Repo) -> list[Discussion]:
    """Return all discussions, the newest first.

    Raises:
        RefusalError: 500, if the record of one is damaged.
    """
    return [_read(_path(repo, num)) for num in sorted(_numbers(repo), reverse=True)]


def read_discussion(repo: Repo, repo_id: str, num: int) -> Discussion:
    """Return the discussion with this number.

    Raises:
        RefusalError: 404, if there is none; 500, if its record is damaged.
    """
    if not has_discussion(repo, num):
        raise RefusalError(
            404, f"{repo_id} has no discussion or pull request {num}: list them with get_repo_discussions"
        )
    return _read(_path(repo, num))


def has_discussion(repo: Repo, num: int) -> bool:
    """Whether there is a discussion, or pull request, with this number."""
    return _path(repo, num).is_file()


def next_number(repo: Repo) -> int:
    """Return the number of the next discussion."""
    return max(_numbers(repo), default=0) + 1


def write_discussion(repo: Repo, discussion: Discussion) -> None:
    """Keep a discussion as it is now.

    Raises:
        RefusalError: 413, if more was said in it than one may hold.
    """
    content = discussion.model_dump_json().encode()
    if len(content) > MAX_RECORD:
        raise RefusalError(
            413, f"discussion {discussion.num} would be longer than {MAX_RECORD} bytes: open a new one"
        )
    path = _path(repo, discussion.num)
    if not path.parent.is_dir():
        path.parent.mkdir()
        sync_folder(path.parent.parent)
    # One writer at a time, so one name is enough; what a kill leaves there is overwritten.
    aside = path.with_name(f"{path.name}.partial")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def _path(repo: Repo, num: int) -> Path:
    return Path(repo.path, FOLDER, f"{num}.json")


def _numbers(repo: Repo) -> list[int]:
    return [int(path.stem) for path in Path(repo.path, FOLDER).glob("*.json") if path.stem.isdecimal()]


def _read(path: Path) -> Discussion:
    try:
        return Discussion.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "$"
        raise RefusalError(
            500, f"{FOLDER}/{path.name}: {where}: {problem['msg']}; restore this discussion from a backup"
        ) from None
