"""Which names the Hub accepts: repositories, files inside them, branches and tags.

Only names that pass here ever become part of a path on disk or of a git tree.
"""

import re
import unicodedata
from collections.abc import Iterable

from dulwich.index import validate_path_element_hfs, validate_path_element_ntfs
from dulwich.refs import Ref, check_ref_format
from huggingface_hub.constants import HF_URI_TYPE_PREFIXES
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from sparsezoo_hub.hub.local_hub.refusals import RefusalError

OWN_NAME = "local"  # the administrator, and the owner of "name" alone where they ask
MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255
RESERVED_OWNERS = frozenset({"api"})  # the server's own routes begin with it
# The client reads these at the beginning of an address as a kind of repository.
_KINDS = frozenset(HF_URI_TYPE_PREFIXES)

_REF_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
_COMMIT_ID = re.compile(r"[0-9a-fA-F]{40}")


def check_repo_id(owner: str, name: str) -> str:
    """Return `owner/name` if the Hub's own rules accept it.

    Raises:
        RefusalError: 400, if they do not.
    """
    repo_id = f"{owner}/{name}"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise RefusalError(400, f"{repo_id!r} is no repository id: {error}") from None
    if owner.lower() in RESERVED_OWNERS | _KINDS:
        raise RefusalError(
            400, f"{repo_id!r} is no repository id: the owner {owner!r} is reserved, choose another"
        )
    return repo_id


def check_owner(name: str) -> str:
    """Return `name` if it can own repositories.

    Raises:
        RefusalError: 400, if it cannot.
    """
    try:
        check_repo_id(name, "model")
    except RefusalError:
        raise RefusalError(
            400,
            f"{name!r} cannot own repositories: use letters, digits, '.', '_' and '-', and no name that"
            " addresses begin with, as 'api' and 'models'",
        ) from None
    return name


def check_file_path(path: object) -> str:
    """Return `path` if a file of a repository may have it.

    Raises:
        RefusalError: 400, if it is absolute, climbs, reaches into `.git`, or holds what no file name should.
    """
    if not isinstance(path, str):
        raise RefusalError(400, f"a file's path must be text, got {type(path).__name__}")
    problem = _path_problem(path)
    if problem is not None:
        raise RefusalError(400, f"{path!r} cannot be a file's path in a repository: {problem}")
    return path


def check_ref_name(name: object, taken: Iterable[str]) -> str:
    """Return `name` if a new branch or tag may have it.

    Args:
        name: what the client wants to call it.
        taken: the names of all branches and tags there are.

    Raises:
        RefusalError: 400 for a bad name, 409 for one that is taken or that would lie inside another.
    """
    if not isinstance(name, str) or not _REF_NAME.fullmatch(name) or not check_ref_format(branch_ref(name)):
        raise RefusalError(
            400, f"{name!r} cannot name a branch or tag: use letters, digits, '.', '_', '-' and '/'"
        )
    if _COMMIT_ID.fullmatch(name) or name == "HEAD" or name.startswith("refs/"):
        raise RefusalError(
            400, f"{name!r} cannot name a branch or tag: it reads like a commit or a full reference"
        )
    for other in taken:
        if other == name:
            raise RefusalError(
                409, f"a branch or tag {name!r} already exists: choose another name, or delete it first"
            )
        # git keeps a reference in a file of its name, and a file cannot be a folder as well.
        if other.startswith(f"{name}/") or name.startswith(f"{other}/"):
            raise RefusalError(409, f"{name!r} cannot exist beside {other!r}: one lies inside the other")
    return name


def is_commit_id(text: str) -> bool:
    """Whether `text` is a whole SHA-1 in hexadecimal."""
    return _COMMIT_ID.fullmatch(text) is not None


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8; JSON can spell texts that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def branch_ref(name: str) -> Ref:
    """Return the git reference of branch `name`."""
    return Ref(b"refs/heads/" + name.encode())


def tag_ref(name: str) -> Ref:
    """Return the git reference of tag `name`."""
    return Ref(b"refs/tags/" + name.encode())


def _path_problem(path: str) -> str | None:
    if not is_unicode(path):
        return "it is not valid Unicode"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes"
    if "\\" in path:
        return "it holds a backslash; separate folders by '/'"
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "it holds a control character"
    return next((problem for part in path.split("/") if (problem := _part_problem(part))), None)


def _part_problem(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return "it must be relative, without empty, '.' or '..' parts"
    name = part.encode()
    if len(name) > MAX_PART_BYTES:
        return f"a part is longer than {MAX_PART_BYTES} bytes"
    # Both know every spelling of ".git" that some file system takes for it.
    if not (validate_path_element_ntfs(name) and validate_path_element_hfs(name)):
        return "a part of it means '.git', or nothing at all, on some file system"
    return None
