"""Pull: a package from a Hub into a folder, verified before it takes its place."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from huggingface_hub import HfApi

from sparsezoo_hub.errors import HubError, PackageError
from sparsezoo_hub.hub.one_commit import ATTRIBUTES, commit_of
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.packaging.compact_form import expand_compact_form
from sparsezoo_hub.packaging.layout import COMPACT_FILES, COMPACT_FOLDER, FOREIGN, WEIGHTS
from sparsezoo_hub.packaging.manifest import Manifest
from sparsezoo_hub.packaging.verify import require_verified

_COMMIT_DIGITS = 40


@dataclass(frozen=True)
class Pulled:
    """A package that was pulled: its commit, the bytes that travelled, and those of the package."""

    manifest: Manifest
    commit: str
    num_bytes_sent: int
    num_bytes: int

    @property
    def ratio(self) -> float:
        """How many times larger the package is than what travelled."""
        return self.num_bytes / self.num_bytes_sent


def pull_package(
    repo_id: str,
    folder: Path,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    revision: str | None = None,
    compact: bool = False,
) -> Pulled:
    """Download a package, of one commit whatever happens to the branch meanwhile, and verify it.

    The files that arrived before a pull was interrupted wait beside ``folder`` for the next one.

    Args:
        repo_id: ``owner/name``.
        folder: where it goes; must not exist yet.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: for private repositories.
        revision: branch, tag or commit; ``main`` by default.
        compact: let the large files travel in their compact form, and expand them here.

    Raises:
        PackageError: if ``folder`` exists.
        VerificationError: if what came is not what the package promises; ``folder`` is not made then.
        HubError: if the Hub refuses, or does not answer, or the repository has no compact form.
    """
    if folder.exists():
        raise PackageError(f"{folder} exists: choose another folder, or delete it")
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    with one_line_refusals(f"pull of {repo_id}", api.endpoint):
        info = api.model_info(repo_id, revision=revision, files_metadata=True)
        commit = commit_of(info)
        sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
        left_out = _left_out(repo_id, sizes, compact=compact)
        with _partial_folder(folder, commit) as partial:
            api.snapshot_download(repo_id, revision=commit, local_dir=partial, ignore_patterns=left_out)
            # From here on nothing is left to resume.
            try:
                shutil.rmtree(partial / ".cache", ignore_errors=True)  # the client's own notes
                if compact:
                    expand_compact_form(partial)
                manifest = require_verified(partial)
                partial.rename(folder)
                _forget_others(folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    sent = sum(size for name, size in sizes.items() if name != ATTRIBUTES and not _matches(name, left_out))
    whole = sum(size for name, size in sizes.items() if name.split("/")[0] not in FOREIGN)
    return Pulled(manifest, commit, num_bytes_sent=sent, num_bytes=whole)


def _left_out(repo_id: str, sizes: dict[str, int], *, compact: bool) -> list[str]:
    if not compact:
        return [f"{COMPACT_FOLDER}/*"]
    if COMPACT_FILES[WEIGHTS] not in sizes:
        raise HubError(
            f"pull of {repo_id}: it has no compact form ({COMPACT_FILES[WEIGHTS]}) at this revision: pull it "
            "without --compact; a sparse package gets one when it is pushed with `sparsezoo-hub push`"
        )
    return [name for name, small in COMPACT_FILES.items() if small in sizes]


def _matches(name: str, left_out: list[str]) -> bool:
    return name in left_out or (f"{COMPACT_FOLDER}/*" in left_out and name.startswith(f"{COMPACT_FOLDER}/"))


def _forget_others(folder: Path) -> None:
    """Delete what pulls of other commits into the same folder have left."""
    for partial in folder.absolute().parent.glob(f".{escape(folder.name)}-{'[0-9a-f]' * _COMMIT_DIGITS}"):
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _partial_folder(folder: Path, commit: str) -> Iterator[Path]:
    """Yield the folder beside ``folder`` where the files of a commit gather, for this process alone."""
    partial = folder.absolute().parent / f".{folder.name}-{commit}"
    partial.mkdir(parents=True, exist_ok=True)
    held = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PackageError(f"{folder} is being pulled by another process: wait for it") from None
        yield partial
    finally:
        os.close(held)
