"""Push: a verified package to a Hub, as one commit."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.packaging.layout import MANIFEST
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest
from sparsezoo_hub.packaging.verify import require_verified


@dataclass(frozen=True)
class Pushed:
    """Where a package went."""

    repo_id: str
    commit: str
    url: str


def push_package(
    folder: Path,
    repo_id: str,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    revision: str | None = None,
    private: bool = False,
    commit_message: str | None = None,
) -> Pushed:
    """Create the repository if it is not there, and upload the package in one commit.

    What is published there keeps its promise: whoever pulls it tomorrow gets a pattern if there is one
    today, and a target that is no lower.

    Args:
        folder: a package; it is verified first.
        repo_id: ``owner/name``.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: with write access; by default the one of ``hf auth login`` or HF_TOKEN.
        revision: the branch, ``main`` by default.
        private: whether a new repository is private.
        commit_message: by default names the package.

    Raises:
        VerificationError: if the package is not what it promises.
        PackageError: if it promises less than the package in its place; no commit is made then.
        HubError: if the Hub refuses, or does not answer; no commit is made then.
    """
    manifest = require_verified(folder)
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    with one_line_refusals(f"push to {repo_id}", api.endpoint):
        api.create_repo(repo_id, exist_ok=True, private=private)
        _check_promise(manifest, _published(api, repo_id, revision), repo_id)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message or f"Add {manifest.name}",
            delete_patterns="*",  # files of an earlier version that this one no longer has
        )
    return Pushed(repo_id, commit.oid, f"{api.endpoint}/{repo_id}")


def _published(api: HfApi, repo_id: str, revision: str | None) -> Manifest | None:
    """Return the manifest that is at ``revision`` now; None if there is none, or none that can be read."""
    with TemporaryDirectory() as folder:
        try:
            api.hf_hub_download(repo_id, MANIFEST, revision=revision, local_dir=folder)
            return read_manifest(Path(folder) / MANIFEST)
        except (RemoteEntryNotFoundError, RevisionNotFoundError, PackageError):
            return None


def _check_promise(manifest: Manifest, published: Manifest | None, repo_id: str) -> None:
    if published is None or published.is_dense:
        return
    before, now = published.sparsity.target, manifest.sparsity.target
    if manifest.is_dense:
        lowered = f"is dense, {published.name} in its place has a locked pattern"
    elif before is not None and now is not None and now < before:
        lowered = f"has the target {now}, {published.name} in its place {before}"
    else:
        return
    raise PackageError(
        f"push to {repo_id}: {manifest.name} {lowered}, and whoever loads it from there counts on that; push "
        "to another repository or branch"
    )
