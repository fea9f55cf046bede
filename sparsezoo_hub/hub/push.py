"""Push: a verified package to a Hub, as one commit or one pull request."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import CommitInfo, HfApi, ModelCardData, ModelInfo, constants
from huggingface_hub.errors import RevisionNotFoundError

from sparsezoo_hub.errors import HubError, PackageError
from sparsezoo_hub.hub.one_commit import ATTRIBUTES, commit_files, commit_of, hub_api, until_current
from sparsezoo_hub.hub.promise import check_no_less, published_manifest
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.hub.tags import check_free, put_tag
from sparsezoo_hub.packaging.compact_form import write_compact_form
from sparsezoo_hub.packaging.layout import MANIFEST, package_files
from sparsezoo_hub.packaging.manifest import Manifest, read_manifest
from sparsezoo_hub.packaging.verify import require_verified


@dataclass(frozen=True)
class Pushed:
    """Where a package went: the commit, and the pull request if it is one (None too if nothing changed)."""

    repo_id: str
    revision: str
    commit: str
    url: str
    pull_request: str | None = None
    tags: tuple[str, ...] = ()


def push_package(  # noqa: PLR0913 - each is a wish of its own
    folder: Path,
    repo_id: str,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    revision: str | None = None,
    private: bool = False,
    commit_message: str | None = None,
    create_pr: bool = False,
    tags: Sequence[str] = (),
    force: bool = False,
) -> Pushed:
    """Create the repository if it is not there, and upload the package in one commit.

    What is published there keeps its promise: whoever pulls it tomorrow gets a pattern if there is one
    today, and a target that is no lower. Of a sparse package the compact form goes along, under ``compact``.
    Only what is not there yet is sent, and what arrived before a push was interrupted is there.

    Args:
        folder: a package; it is verified first, its ONNX models against PyTorch too.
        repo_id: ``owner/name``.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: with write access; by default the one of ``hf auth login`` or HF_TOKEN.
        revision: the branch, ``main`` by default; made from ``main`` if it is not there.
        private: whether a new repository is private; one that is there must be.
        commit_message: by default names the package.
        create_pr: open a pull request instead of moving the branch.
        tags: names for the commit; one that names another commit is refused before anything is sent.
        force: publish what fails verification or promises less.

    Raises:
        VerificationError: if the package is not what it promises.
        PackageError: if it promises less than the package in its place; no commit is made then.
        HubError: if the Hub refuses, or does not answer; no commit is made then.
    """
    if create_pr and tags:
        raise HubError(f"push to {repo_id}: a pull request has no tags: tag the commit once it is merged")
    if create_pr and revision not in (None, constants.DEFAULT_REVISION):
        raise HubError(f"push to {repo_id}: a pull request is against main, got the branch {revision!r}")
    branch = revision or constants.DEFAULT_REVISION
    manifest, verified = _checked(folder, force=force)
    api = hub_api(endpoint, token)
    where = f"push to {repo_id}"
    with TemporaryDirectory() as aside, one_line_refusals(where, api.endpoint):
        files = {name: folder / name for name in package_files(folder)}
        if verified and not manifest.is_dense:
            write_compact_form(folder, Path(aside))
            files |= {name: Path(aside) / name for name in _files_in(Path(aside))}
        api.create_repo(repo_id, exist_ok=True, private=private)
        _check_private(api, repo_id, private=private)
        with _branch(api, repo_id, branch) as is_new:

            def attempt() -> CommitInfo:
                info = api.model_info(repo_id, revision=branch)
                head = commit_of(info)
                published = published_manifest(api, repo_id, head)
                for tag in tags:
                    check_free(api, repo_id, tag, head if published == manifest else None)
                if not force and not is_new:
                    _check_current(info, where)
                    check_no_less(manifest, published, where)
                there = set(api.list_repo_files(repo_id, revision=head))
                return commit_files(
                    api,
                    repo_id,
                    files,
                    branch=branch,
                    parent=head,
                    delete=there - files.keys() - {ATTRIBUTES},
                    message=commit_message or f"Add {manifest.name}",
                    create_pr=create_pr,
                )

            commit = until_current(attempt)
        for tag in tags:
            put_tag(api, repo_id, tag, commit.oid)
    return _pushed(api, repo_id, branch, commit, tags)


def _checked(folder: Path, *, force: bool) -> tuple[Manifest, bool]:
    """Return the manifest, which even ``force`` needs: without one the folder is no package."""
    try:
        return require_verified(folder, onnx=True), True
    except PackageError as error:
        if not force:
            raise type(error)(f"{error}; or push it as it is with --force") from None
        return read_manifest(folder / MANIFEST), False


def _files_in(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _check_private(api: HfApi, repo_id: str, *, private: bool) -> None:
    if private and not api.model_info(repo_id).private:
        raise HubError(
            f"push to {repo_id}: the repository is public already: make it private on the Hub first, or push "
            "without --private"
        )


@contextmanager
def _branch(api: HfApi, repo_id: str, branch: str) -> Iterator[bool]:
    """Make a branch for the block if it is not there; tell whether, and take it back if the block fails."""
    try:
        api.model_info(repo_id, revision=branch)
        is_new = False
    except RevisionNotFoundError:
        api.create_branch(repo_id, branch=branch)
        is_new = True
    try:
        yield is_new
    except BaseException:
        if is_new:
            with suppress(Exception):  # the way to the Hub may be what failed
                api.delete_branch(repo_id, branch=branch)
        raise


def _check_current(info: ModelInfo, where: str) -> None:
    successor = (info.card_data or ModelCardData()).get("new_version")
    if successor is not None:
        raise PackageError(
            f"{where}: it is deprecated, {successor!r:.100} has taken its place, and a push would hide that: "
            "push there, or take that back with `sparsezoo-hub deprecate --undo`, or push with --force"
        )


def _pushed(api: HfApi, repo_id: str, branch: str, commit: CommitInfo, tags: Sequence[str]) -> Pushed:
    url = f"{api.endpoint}/{repo_id}"
    return Pushed(repo_id, branch, commit.oid, url, commit.pr_url, tuple(tags))
