"""Which objects and large files the references of a repository need, and whether they are there."""

import hashlib
import stat
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tag, Tree, object_class
from dulwich.refs import HEADREF, Ref, SymrefLoop
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.lfs_pointer import LfsPointer, parse_pointer
from sparsezoo_hub.hub.local_hub.names import is_commit_id

# What dulwich raises at an object whose bytes are not what they should be.
_BROKEN = (
    *(FileFormatException, ChecksumMismatch, ApplyDeltaError, zlib.error),
    *(AssertionError, ValueError, IndexError, KeyError, OSError, EOFError),
)


@dataclass(slots=True)
class Reached:
    """What was found from the references of one repository.

    Args:
        objects: every git object that is there.
        large_files: every large file that a revision holds, with the path where it was seen first.
        problems: one line for everything that is missing or broken.
    """

    objects: set[ObjectID] = field(default_factory=set)
    large_files: dict[LfsPointer, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def reach(repo: Repo) -> Reached:
    """Follow every reference of `repo`, and read and hash every object on the way."""
    reached = Reached()
    tips, reached.problems = read_references(repo)
    follow(repo, [(oid, f"reference {ref}") for ref, oid in tips.items()], reached)
    return reached


def read_references(repo: Repo) -> tuple[dict[str, ObjectID], list[str]]:
    """Return where every reference stands, and one line for each that stands nowhere."""
    tips: dict[str, ObjectID] = {}
    problems = []
    for ref in [*sorted(repo.refs.allkeys() - {HEADREF}), HEADREF]:
        name = ref.decode("utf-8", "replace")
        oid = _target(repo, ref)
        if oid is None:
            problems.append(f"reference {name} names no object: set it to a commit with `git update-ref`")
        else:
            tips[name] = oid
    return tips, problems


def follow(repo: Repo, start: Iterable[tuple[ObjectID, str]], reached: Reached) -> None:
    """Add to `reached` what can be reached from `start`.

    Args:
        repo: the repository.
        start: objects, each with where it was named, for messages.
        reached: what is known already; it is not read again.
    """
    waiting = deque(start)  # the references first, so that a message names them rather than a commit
    seen = set(reached.objects)
    while waiting:
        oid, where = waiting.popleft()
        if oid in seen:
            continue
        seen.add(oid)
        found = read_object(repo, oid, where)
        if isinstance(found, str):
            reached.problems.append(found)
            continue
        reached.objects.add(oid)
        if isinstance(found, Blob):
            pointer = parse_pointer(found.data)
            if pointer is not None:
                reached.large_files.setdefault(pointer, where)
        try:
            waiting.extend(needed_by(found, where))
        except _BROKEN as error:
            reached.problems.append(f"object {oid.decode()} ({where}) cannot be read: {one_line(error)}")


def _target(repo: Repo, ref: Ref) -> ObjectID | None:
    try:
        oid = repo.refs[ref]
    except (KeyError, SymrefLoop, ValueError):
        return None
    return oid if is_commit_id(oid.decode("latin-1")) else None


def read_object(repo: Repo, oid: ObjectID, where: str) -> ShaFile | str:
    """Return an object, or one line about what is wrong with it.

    Args:
        repo: the repository.
        oid: the object's id, which its content must have as its hash.
        where: what named it, for the line.
    """
    name = oid.decode()
    try:
        number, content = repo.object_store.get_raw(oid)
        kind = object_class(number)
        if kind is None:
            return f"object {name} ({where}) is of no known type"
        header = b"%s %d\0" % (kind.type_name, len(content))
        got = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
        if got != name:
            return f"object {name} ({where}) is damaged: its content has the hash {got}"
        return ShaFile.from_raw_string(number, content)
    except KeyError:
        return f"object {name} ({where}) is missing"
    except _BROKEN as error:
        return f"object {name} ({where}) is damaged: {one_line(error)}"


def needed_by(found: ShaFile, where: str) -> Iterator[tuple[ObjectID, str]]:
    """Yield the objects that `found` names, each with where that was; `where` is where `found` was named."""
    if isinstance(found, Tag):
        yield found.object[1], where
    elif isinstance(found, Commit):
        short = found.id.decode()[:10]
        yield from ((parent, f"commit before {short}") for parent in found.parents)
        yield found.tree, f"commit {short}"
    elif isinstance(found, Tree):
        for name, mode, oid in found.iteritems():
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                yield (
                    oid,
                    f"{where}{'/' if ': ' in where else ': '}{one_line(name.decode('utf-8', 'replace'))}",
                )


def one_line(text: object) -> str:
    """Return `text` on one line, its type's name if it is empty."""
    return " ".join(str(text).split()) or type(text).__name__
