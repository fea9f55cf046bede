"""Pull: a package from a Hub into a folder, verified before it takes its place."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.packaging.manifest import Manifest
from sparsezoo_hub.packaging.verify import require_verified


def pull_package(
    repo_id: str,
    folder: Path,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> Manifest:
    """Download a package and return its manifest.

    Args:
        repo_id: ``owner/name``.
        folder: where it goes; must not exist yet.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: for private repositories.
        revision: branch, tag or commit; ``main`` by default.

    Raises:
        PackageError: if ``folder`` exists.
        VerificationError: if what came is not what the package promises; ``folder`` is not made then.
        HubError: if the Hub refuses, or does not answer.
    """
    if folder.exists():
        raise PackageError(f"{folder} exists: choose another folder, or delete it")
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
        partial = Path(aside) / folder.name
        with one_line_refusals(f"pull of {repo_id}", api.endpoint):
            api.snapshot_download(repo_id, revision=revision, local_dir=partial)
        shutil.rmtree(partial / ".cache", ignore_errors=True)  # the client's own notes
        manifest = require_verified(partial)
        partial.rename(folder)
    return manifest
