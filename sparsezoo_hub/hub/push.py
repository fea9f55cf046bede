"""Push: a verified package to a Hub, as one commit."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi

from sparsezoo_hub.hub.refusals import one_line_refusals
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
        HubError: if the Hub refuses, or does not answer; no commit is made then.
    """
    manifest = require_verified(folder)
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    with one_line_refusals(f"push to {repo_id}", api.endpoint):
        api.create_repo(repo_id, exist_ok=True, private=private)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message or f"Add {manifest.name}",
            delete_patterns="*",  # files of an earlier version that this one no longer has
        )
    return Pushed(repo_id, commit.oid, f"{api.endpoint}/{repo_id}")
