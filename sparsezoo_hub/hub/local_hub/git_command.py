"""Running git itself on a repository, for what it does better than any library: merges and differences."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sparsezoo_hub.hub.local_hub.refusals import RefusalError

SECONDS = 60
# Nobody's settings but ours: a server answers alike whoever started it.
VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "LC_ALL": "C",
    # The folder may be another user's, as a mounted volume is.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


def run_git(
    git_folder: Path, *arguments: str, most: int, variables: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Run git on a repository, and return its exit code and what it says, at most `most` bytes of it.

    Raises:
        RefusalError: 501, if the server has no git; 503, if it takes longer than `SECONDS`.
    """
    git = shutil.which("git")
    if git is None:
        raise RefusalError(
            501, "this Hub's computer has no git, which merges and differences need: install it"
        )
    command = [git, "--git-dir", os.fspath(git_folder.absolute()), *arguments]
    environment = {"PATH": os.environ.get("PATH", os.defpath), **VARIABLES, **(variables or {})}
    # A file between, so that what git says never fills the memory.
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(  # noqa: S603 - git, by its path, with arguments that are no user's
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                env=environment,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RefusalError(503, f"git took longer than {SECONDS} s for this: try again later") from None
        said.seek(0)
        return done.returncode, said.read(most)
