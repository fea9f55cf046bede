"""Promotion: what was tried out on one branch becomes the release, as it is."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.contents import stored_files
from sparsezoo_hub.hub.one_commit import commit_files, commit_of, hub_api, until_current
from sparsezoo_hub.hub.promise import check_no_less, published_manifest
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.hub.tags import put_tag
from sparsezoo_hub.packaging.manifest import Manifest
from sparsezoo_hub.packaging.verify import require_verified


@dataclass(frozen=True)
class Promoted:
    """What was promoted: the commit it came from, and the one that the branch or tag ``to`` is at now.

    ``is_new`` is False if the very same content was there already.
    """

    repo_id: str
    source: str
    to: str
    commit: str
    is_new: bool


def promote_package(
    repo_id: str,
    source: str,
    to: str,
    *,
    endpoint: str | None = None,
    token: str | None = None,
) -> Promoted:
    """Verify the package at a revision, and make a branch or a tag of this very content.

    A branch gets one commit with exactly the files of the source; a name that is no branch becomes a tag of
    the source's commit.

    Args:
        repo_id: ``owner/name``.
        source: branch, tag or commit to promote.
        to: a branch that is there, or a tag, made if it is not there.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: with write access; by default the one of ``hf auth login`` or HF_TOKEN.

    Raises:
        VerificationError: if the source is not what it promises.
        PackageError: if it promises less than what the branch has.
        HubError: if the tag names another commit, or the Hub refuses or does not answer.
    """
    api = hub_api(endpoint, token)
    where = f"promotion of {source} in {repo_id} to {to}"
    with one_line_refusals(where, api.endpoint):
        commit = commit_of(api.model_info(repo_id, revision=source))
        folder = Path(api.snapshot_download(repo_id, revision=commit))
        manifest = require_verified(folder, onnx=True)
        if to not in {branch.name for branch in api.list_repo_refs(repo_id).branches}:
            return Promoted(repo_id, commit, to, commit, put_tag(api, repo_id, to, commit))
        return until_current(lambda: _move_branch(api, repo_id, to, commit, folder, manifest, where))


def _move_branch(
    api: HfApi, repo_id: str, branch: str, commit: str, folder: Path, manifest: Manifest, where: str
) -> Promoted:
    head = commit_of(api.model_info(repo_id, revision=branch))
    wanted, there = stored_files(api, repo_id, commit), stored_files(api, repo_id, head)
    if wanted == there:
        return Promoted(repo_id, commit, branch, head, False)
    check_no_less(manifest, published_manifest(api, repo_id, head), where)
    made = commit_files(
        api,
        repo_id,
        {name: folder / name for name in wanted if there.get(name) != wanted[name]},
        branch=branch,
        parent=head,
        delete=there.keys() - wanted.keys(),
        message=f"Promote {manifest.name} from {commit[:12]}",
    )
    if stored_files(api, repo_id, made.oid) != wanted:
        raise HubError(
            f"{where}: {api.endpoint} made a commit of other files, {made.oid[:12]}; look at it there"
        )
    return Promoted(repo_id, commit, branch, made.oid, True)
