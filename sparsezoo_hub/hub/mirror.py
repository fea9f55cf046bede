"""Mirror: repositories from one Hub to another, as they are today.

Copied are the newest files of every branch and the files of every tag, each as one commit. Not copied are
the history before, pull requests and discussions; what the other Hub has more is left alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RevisionNotFoundError

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.contents import Stored, stored_files
from sparsezoo_hub.hub.one_commit import commit_files, commit_of, hub_api, until_current
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.hub.tags import tags_of

NOT_MIRRORED = ("history", "pull requests", "discussions")


@dataclass(frozen=True)
class Mirrored:
    """A branch or a tag that is at the other Hub now: its commit there, and how many files were sent."""

    repo_id: str
    name: str
    kind: str
    commit: str
    num_sent: int


def mirror_ends(
    source: str, target: str, source_token: str | None, target_token: str | None
) -> tuple[HfApi, HfApi]:
    """Return the clients for both ends of a mirror.

    Args:
        source: address of the Hub to read.
        target: address of the Hub to write to.
        source_token: for private repositories; by default that of the Hub's client, at its own Hub only.
        target_token: with write access; by default likewise.

    Raises:
        HubError: if one is no address, or both are the same.
    """
    for endpoint in (source, target):
        if not endpoint.startswith(("http://", "https://")):
            raise HubError(f"{endpoint} is no Hub's address: give one that begins with http:// or https://")
    ends = [endpoint.rstrip("/") for endpoint in (source, target)]
    if ends[0] == ends[1]:
        raise HubError(f"mirror of {source} to itself: name two Hubs")
    one, other = (
        # HF_TOKEN is a secret of HF_ENDPOINT, and none of the other Hub's business.
        hub_api(end, token if token or end == constants.ENDPOINT else False)
        for end, token in zip(ends, (source_token, target_token), strict=True)
    )
    return one, other


def mirrored_repositories(source: HfApi, owner: str) -> list[str]:
    """Return the ids of an owner's models, sorted.

    Raises:
        HubError: if there are none, or the Hub refuses or does not answer.
    """
    with one_line_refusals(f"mirror of {owner}", source.endpoint):
        found = sorted(model.id for model in source.list_models(author=owner))
    if not found:
        raise HubError(f"mirror of {owner}: {source.endpoint} shows no model of this owner: check the name")
    return found


def mirror_repository(
    source: HfApi, target: HfApi, repo_id: str, done: Callable[[Mirrored], None]
) -> list[Mirrored]:
    """Make the branches and tags of a repository at another Hub what they are at this one.

    What is there already is not sent, so that an interrupted mirror goes on where it was.

    Args:
        source: the client of the Hub to read, of ``hub_api``.
        target: that of the Hub to write to; a private repository is made private there.
        repo_id: ``owner/name`` at both.
        done: is told of every branch and tag as soon as it is there, and compared.

    Raises:
        HubError: if a Hub refuses or does not answer, a tag names other files there, or other files came
            out.
    """
    mirrored: list[Mirrored] = []

    def note(one: Mirrored) -> None:
        mirrored.append(one)
        done(one)

    with one_line_refusals(f"mirror of {repo_id}", f"{source.endpoint} or {target.endpoint}"):
        info = source.model_info(repo_id)
        refs = source.list_repo_refs(repo_id)
        target.create_repo(repo_id, private=bool(info.private), exist_ok=True)
        heads = {}
        for branch in sorted(refs.branches, key=lambda ref: ref.name != constants.DEFAULT_REVISION):
            commit, sent = _copy(source, target, repo_id, branch.target_commit, branch.name)
            heads[branch.target_commit] = commit
            note(Mirrored(repo_id, branch.name, "branch", commit, sent))
        there = tags_of(target, repo_id)
        for tag in refs.tags:
            note(_mirror_tag(source, target, repo_id, tag.name, tag.target_commit, heads, there))
    return mirrored


def _mirror_tag(
    source: HfApi,
    target: HfApi,
    repo_id: str,
    tag: str,
    commit: str,
    heads: dict[str, str],
    there: dict[str, str],
) -> Mirrored:
    if tag in there:
        wanted = stored_files(source, repo_id, commit)
        tagged = stored_files(target, repo_id, there[tag])
        if tagged.keys() != wanted.keys() or _missing(source, repo_id, commit, wanted, tagged):
            raise HubError(
                f"mirror of {repo_id}: the tag {tag} at {target.endpoint} names other files: delete it there "
                "if it is to be replaced, then mirror again"
            )
        return Mirrored(repo_id, tag, "tag", there[tag], 0)
    made, sent = heads.get(commit), 0
    branch = f"mirror-of-{tag}"
    if made is None:  # an older revision: a branch carries its files there, and the tag holds them
        made, sent = _copy(source, target, repo_id, commit, branch)
    target.create_tag(repo_id, tag=tag, revision=made)
    if commit not in heads:
        target.delete_branch(repo_id, branch=branch)
    return Mirrored(repo_id, tag, "tag", made, sent)


def _copy(source: HfApi, target: HfApi, repo_id: str, commit: str, branch: str) -> tuple[str, int]:
    """Make the files of a branch those of a commit; return the branch's commit, and how many were sent."""
    wanted = stored_files(source, repo_id, commit)

    def attempt() -> tuple[str, int]:
        head = _head(target, repo_id, branch)
        there = stored_files(target, repo_id, head)
        changed = _missing(source, repo_id, commit, wanted, there)
        surplus = there.keys() - wanted.keys()
        if not changed and not surplus:
            return head, 0
        made = commit_files(
            target,
            repo_id,
            changed,
            branch=branch,
            parent=head,
            delete=surplus,
            message=f"Mirror {commit[:12]} of {source.endpoint}/{repo_id}",
        ).oid
        came = stored_files(target, repo_id, made)
        if came.keys() != wanted.keys() or _missing(source, repo_id, commit, wanted, came):
            raise HubError(
                f"mirror of {repo_id}: other files are at {target.endpoint} than were sent; mirror it again"
            )
        return made, len(changed)

    return until_current(attempt)


def _head(target: HfApi, repo_id: str, branch: str) -> str:
    try:
        return commit_of(target.model_info(repo_id, revision=branch))
    except RevisionNotFoundError:
        target.create_branch(repo_id, branch=branch)
        return commit_of(target.model_info(repo_id, revision=branch))


def _missing(
    source: HfApi, repo_id: str, commit: str, wanted: dict[str, Stored], there: dict[str, Stored]
) -> dict[str, Path]:
    """Return the files that are not there, downloaded into the client's cache."""
    missing = {}
    for name, file in wanted.items():
        other = there.get(name)
        same = other is not None and file.may_be(other)
        if same:
            continue
        path = Path(source.hf_hub_download(repo_id, name, revision=commit))
        # Two Hubs need not agree on which files are large: then the content decides.
        if same is None and other is not None and other.is_content_of(path):
            continue
        missing[name] = path
    return missing
