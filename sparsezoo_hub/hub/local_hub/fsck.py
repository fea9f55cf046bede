"""Whether everything that a Hub promises is really there: references, objects, large files, settings.

Only reads, so it may run beside a server. What the server does meanwhile is no problem: references are read
before what they need, and nothing that a reference needs is ever removed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.repo import Repo

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.discussion_store import list_discussions
from sparsezoo_hub.hub.local_hub.large_files import READ_SIZE
from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer
from sparsezoo_hub.hub.local_hub.reachability import Reached, one_line, reach
from sparsezoo_hub.hub.local_hub.repositories import CREATED_AT, PUBLIC, VISIBILITY, Repositories
from sparsezoo_hub.hub.local_hub.revisions import pull_request_ref
from sparsezoo_hub.hub.local_hub.root_contents import (
    bytes_in,
    is_served,
    large_files,
    leftovers,
    note_of,
    require_hub,
)
from sparsezoo_hub.hub.local_hub.tokens import Tokens, write_token

_VISIBILITIES = (PUBLIC, b"private")


@dataclass(slots=True)
class RootReport:
    """What was looked at under a root, and what was found.

    Args:
        repositories: how many there are.
        git_objects: how many their references reach, each repository counted by itself.
        large_files: how many are stored.
        large_bytes: their length together.
        served: whether a server was running: its unfinished uploads are no leftovers then.
        problems: one line for everything that is missing or broken.
        leftovers: one line for everything that nothing needs; `collect_garbage` removes it.
    """

    repositories: int = 0
    git_objects: int = 0
    large_files: int = 0
    large_bytes: int = 0
    served: bool = False
    problems: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def check_root(root: Path) -> RootReport:
    """Read and hash everything under `root` that a revision needs, and return what was found.

    Args:
        root: a Hub's folder; a server may be running on it. Nothing is written.

    Raises:
        HubError: if it is no Hub's folder.
    """
    require_hub(root)
    report = RootReport()
    found = leftovers(root, served=False)
    # A server that starts after this question finds what was found before it, and removes that itself.
    report.served = is_served(root)
    if report.served:
        found = leftovers(root, served=True)
    report.leftovers = [f"{path.relative_to(root)}: {bytes_in(path)} bytes" for path in found]
    report.problems += _token_problems(root)
    needed: dict[LfsPointer, str] = {}
    for repo_id in Repositories(root).ids():
        reached = _check_repository(root, repo_id)
        if reached is None:
            continue
        report.repositories += 1
        report.git_objects += len(reached.objects)
        report.problems += [f"{repo_id}: {problem}" for problem in reached.problems]
        for pointer, where in reached.large_files.items():
            needed.setdefault(pointer, f"{repo_id}, {where}")
    _check_large_files(root, needed, report)
    return report


def _token_problems(root: Path) -> Iterator[str]:
    try:
        Tokens(root).records()
        if (root / "token").exists():
            write_token(root)
    except HubError as error:
        yield one_line(error)


def _check_repository(root: Path, repo_id: str) -> Reached | None:
    """Return what a repository needs and what is wrong with it; None if it was deleted meanwhile."""
    path = root / "models" / f"{repo_id}.git"
    reached = Reached()
    try:
        with Repo(str(path)) as repo:
            reached = reach(repo)
            reached.problems += _settings_problems(repo)
    except (NotGitRepository, OSError, ValueError) as error:
        reached.problems.append(f"cannot be opened as a git repository: {one_line(error)}")
    return reached if path.is_dir() else None


def _settings_problems(repo: Repo) -> Iterator[str]:
    try:
        for discussion in list_discussions(repo):
            if discussion.pull_request is not None and pull_request_ref(discussion.num) not in repo.refs:
                yield f"pull request {discussion.num} has no reference refs/pr/{discussion.num}"
    except HubError as error:
        yield one_line(error)
    if not _setting(repo, CREATED_AT):
        yield "its file 'config' does not say when it was created: set hub.createdAt there"
    visibility = _setting(repo, VISIBILITY)
    if visibility not in _VISIBILITIES:
        got = visibility.decode("utf-8", "replace")
        yield f"its file 'config' must say who sees it, got hub.visibility={got!r}: only its owner does now"


def _setting(repo: Repo, name: tuple[tuple[bytes, ...], bytes]) -> bytes:
    try:
        return repo.get_config().get(*name)
    except KeyError:
        return b""


def _check_large_files(root: Path, needed: dict[LfsPointer, str], report: RootReport) -> None:
    stored: dict[str, int] = {}
    for path in large_files(root):
        try:
            stored[path.name], sha256, git_oid = _hash(path)
        except FileNotFoundError:  # a server removes nothing, but somebody may
            continue
        if sha256 != path.name:
            report.problems.append(
                f"large file {path.name} is damaged, its content has the SHA-256 {sha256}: delete"
                f" {path.relative_to(root)}, then push it again"
            )
        note = note_of(path)
        if sha256 == path.name and note.exists() and note.read_bytes() != git_oid.encode():
            report.problems.append(f"{note.relative_to(root)} must hold {git_oid}: delete that file")
    report.large_files, report.large_bytes = len(stored), sum(stored.values())
    for pointer, where in needed.items():
        size = stored.get(pointer.sha256)
        if size is None:
            report.problems.append(f"large file {pointer.sha256} ({where}) is missing: push it again")
        elif size != pointer.size:
            report.problems.append(
                f"large file {pointer.sha256} ({where}) has {size} bytes, its pointer says {pointer.size}"
            )
    if not report.served:  # else they may belong to a commit that is under way
        unneeded = sorted(stored.keys() - {pointer.sha256 for pointer in needed})
        report.leftovers += [
            f"large file {sha256}: {stored[sha256]} bytes, in no revision" for sha256 in unneeded
        ]


def _hash(path: Path) -> tuple[int, str, str]:
    """Return a file's length, its SHA-256, and the SHA-1 that git would give it."""
    size = path.stat().st_size
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(READ_SIZE):
            sha256.update(block)
            git.update(block)
    return size, sha256.hexdigest(), git.hexdigest()
