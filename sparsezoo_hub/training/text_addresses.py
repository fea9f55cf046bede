"""Text addresses: the text files that a path, a folder, a pattern or an ``hf://`` address means."""

import contextlib
import glob
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from httpx2 import HTTPError
from huggingface_hub import HfApi, HfFileSystem, parse_hf_uri
from huggingface_hub.errors import HfUriError

from sparsezoo_hub.errors import CorpusError

HUB = "hf://"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WILD = re.compile(r"[*?\[]")
# A Hub that is out of reach or says no (both are OSErrors or of the HTTP client), and what is no address.
_HUB_ERRORS = (HTTPError, OSError, HfUriError)


@dataclass(frozen=True)
class TextFile:
    """A file of text, here or on a Hub.

    Args:
        address: a path, or ``hf://…@COMMIT/…``.
        size: bytes, as they are stored.
    """

    address: str
    size: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.address).name

    @property
    def is_remote(self) -> bool:
        """Whether it is on a Hub."""
        return self.address.startswith(HUB)

    def open(self) -> BinaryIO:
        """Open its bytes.

        Raises:
            OSError: if that cannot be done.
        """
        if self.is_remote:
            return cast(BinaryIO, HfFileSystem().open(self.address.removeprefix(HUB), "rb"))
        return Path(self.address).open("rb")

    def identity(self) -> str:
        """Return what tells another file from this one without reading it: place, size, time or commit."""
        if self.is_remote:
            return f"{self.address} {self.size}"
        return f"{Path(self.address).resolve()} {self.size} {Path(self.address).stat().st_mtime_ns}"

    def place(self) -> str:
        """Return where the file is, whatever folder a command is given in."""
        return self.address if self.is_remote else str(Path(self.address).resolve())

    def fingerprint(self, of_content: bool) -> str:
        """Return ``sha256:…`` of a local file's content; else, or on a Hub, whose commit is fixed, its size.

        Raises:
            CorpusError: if the file cannot be read.
        """
        if self.is_remote or not of_content:
            return f"{self.size} bytes"
        return f"sha256:{file_sha256(Path(self.address))}"


def is_hub_address(given: str | Path) -> bool:
    """Return whether this is an ``hf://`` address; a ``Path`` is none."""
    return isinstance(given, str) and given.startswith(HUB)


def local_file(path: str | Path) -> TextFile:
    """Return the file of a path.

    Raises:
        CorpusError: if it is missing, a folder, or out of reach.
    """
    try:
        if Path(path).is_dir():
            raise CorpusError(f"{path}: is a folder; name the text files in it")
        return TextFile(str(path), Path(path).stat().st_size)
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: does not exist; check the path") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from error


def find_text_files(
    given: Sequence[str | Path], endings: Sequence[str], commits: Mapping[str, str]
) -> tuple[TextFile, ...]:
    """Return the files that addresses mean, in the order given, those of a folder or pattern by name.

    Args:
        given: paths, folders, glob patterns (``**`` for folders at any depth), ``hf://`` addresses of files,
            folders or patterns.
        endings: of the files that are taken out of a folder.
        commits: the commit of each branch on a Hub, as ``hub_commits`` returns it.

    Raises:
        CorpusError: if one means no file, two mean the same, or a Hub refuses or is out of reach.
    """
    found: list[TextFile] = []
    for each in given:
        files = _on_hub(str(each), endings, commits) if is_hub_address(each) else _here(Path(each), endings)
        if not files:
            raise CorpusError(f"{each}: there is no file with {', '.join(endings)}; check the address")
        found += files
    places: set[str] = set()
    for file in found:
        if file.place() in places:
            raise CorpusError(f"{file.address}: is given twice; name each text file once")
        places.add(file.place())
    return tuple(found)


def hub_commits(given: Sequence[str | Path], known: Mapping[str, str]) -> dict[str, str]:
    """Return the commit that each branch or tag in ``hf://`` addresses is at now.

    Args:
        given: any addresses.
        known: what an earlier start has found; it is kept.

    Returns:
        By ``TYPE/OWNER/NAME@REVISION``; what names its commit already is not in it.

    Raises:
        CorpusError: if an address is none, or a Hub refuses or is out of reach.
    """
    commits = {}
    for each in given:
        if not is_hub_address(each):
            continue
        with _hub_errors(str(each)):
            uri = parse_hf_uri(str(each))
            if uri.is_bucket:
                raise CorpusError(
                    f"{each}: a bucket has no commits, so a run could not be repeated: give "
                    "a data set or a model repository"
                )
            revision = uri.revision or "main"
            key = f"{uri.type}s/{uri.id}@{revision}"
            if not _COMMIT.fullmatch(revision):
                commits[key] = known.get(key) or _commit(uri.type, uri.id, revision)
    return commits


def _commit(repo_type: str, repo_id: str, revision: str) -> str:
    return str(HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision).sha)


def _here(path: Path, endings: Sequence[str]) -> list[TextFile]:
    if path.is_dir():
        inside = [each for each in path.rglob("*") if each.name.lower().endswith(tuple(endings))]
        return [local_file(each) for each in sorted(inside) if each.is_file()]
    if not path.exists() and _WILD.search(str(path)):
        matches = [Path(each) for each in sorted(glob.glob(str(path), recursive=True))]
        return [local_file(each) for each in matches if each.is_file()]
    return [local_file(path)]


def _on_hub(address: str, endings: Sequence[str], commits: Mapping[str, str]) -> list[TextFile]:
    with _hub_errors(address):
        uri = parse_hf_uri(address)
        revision = uri.revision or "main"
        commit = commits.get(f"{uri.type}s/{uri.id}@{revision}", revision)
        prefix = "" if uri.type == "model" else f"{uri.type}s/"
        path = f"{prefix}{uri.id}@{commit}/{uri.path_in_repo}".rstrip("/")
        system = HfFileSystem()
        if _WILD.search(uri.path_in_repo):
            found = [system.info(name) for name in system.glob(path)]
        elif (info := system.info(path))["type"] == "directory":
            names = [name for name in system.find(path) if name.lower().endswith(tuple(endings))]
            found = [system.info(name) for name in names]
        else:
            found = [info]
        files = {str(each["name"]): int(each["size"]) for each in found if each["type"] == "file"}
        return [TextFile(f"{HUB}{name}", files[name]) for name in sorted(files)]


@contextlib.contextmanager
def _hub_errors(address: str) -> Iterator[None]:
    try:
        yield
    except CorpusError:
        raise
    except FileNotFoundError as error:
        raise CorpusError(
            f"{address}: does not exist on the Hub; check owner, name, revision and path "
            "(a private one needs HF_TOKEN)"
        ) from error
    except _HUB_ERRORS as error:
        raise CorpusError(f"{address}: cannot be looked up: {' '.join(str(error).split())}") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        CorpusError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from error
