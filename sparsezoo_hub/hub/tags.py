"""Tags: lasting names of a repository's commits."""

from dataclasses import dataclass

from huggingface_hub import HfApi, constants

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.refusals import one_line_refusals


@dataclass(frozen=True)
class Tagged:
    """A tag and its commit; ``is_new`` is False if it was there already."""

    repo_id: str
    tag: str
    commit: str
    is_new: bool


def tag_revision(
    repo_id: str,
    tag: str,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Tagged:
    """Give a commit of a repository a lasting name; the same again does nothing.

    Args:
        repo_id: ``owner/name``.
        tag: the name.
        revision: branch, tag or commit; ``main`` by default.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: with write access; by default the one of ``hf auth login`` or HF_TOKEN.

    Raises:
        HubError: if the tag names another commit, or the Hub refuses or does not answer.
    """
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    with one_line_refusals(f"tag {tag} of {repo_id}", api.endpoint):
        commit = api.model_info(repo_id, revision=revision or constants.DEFAULT_REVISION).sha or ""
        return Tagged(repo_id, tag, commit, put_tag(api, repo_id, tag, commit))


def tags_of(api: HfApi, repo_id: str) -> dict[str, str]:
    """Return the commit of every tag of a repository."""
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id).tags}


def check_free(api: HfApi, repo_id: str, tag: str, commit: str | None = None) -> bool:
    """Return whether a tag is still to be made.

    Args:
        api: the Hub's client.
        repo_id: the repository.
        tag: the name.
        commit: the commit that it may name already; None for one that is to come.

    Raises:
        HubError: if it names another commit; a tag that others count on is not moved.
    """
    there = tags_of(api, repo_id).get(tag)
    if there is None:
        return True
    if there == commit:
        return False
    raise HubError(
        f"{repo_id} has a tag {tag} already, at {there[:12]}: choose another name, or delete that tag first "
        f"(`hf repos tag delete {repo_id} {tag}`)"
    )


def put_tag(api: HfApi, repo_id: str, tag: str, commit: str) -> bool:
    """Make a tag and return True; False if it names this very commit already.

    Raises:
        HubError: if it names another commit.
    """
    if not check_free(api, repo_id, tag, commit):
        return False
    api.create_tag(repo_id, tag=tag, revision=commit)
    return True
