"""Deprecation: a card that names the successor, for people and for the Hub.

The card's hash is in the manifest, so both change in one commit, and the package still passes verification.
Only whole lines are put in, and the same are taken out: undone, the card is what it was, byte for byte.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, ModelCard, constants
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # public, not in __all__

from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.one_commit import commit_files, commit_of, hub_api, until_current
from sparsezoo_hub.hub.promise import published_manifest
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.packaging.layout import CARD, MANIFEST
from sparsezoo_hub.packaging.manifest import hash_file, write_manifest
from sparsezoo_hub.packaging.markdown import inline, one_line

_FRONT_MATTER = re.compile(r"\A(---\r?\n)(.*?)(^---\r?\n)", re.DOTALL | re.MULTILINE)
_NEW_VERSION = re.compile(r"^new_version:[^\n]*\n", re.MULTILINE)
_NOTICE = re.compile(r"\A\n> \*\*Deprecated:\*\*[^\n]*\n")


@dataclass(frozen=True)
class Deprecated:
    """A repository's deprecation: ``successor`` is None if it was undone, ``is_new`` False if it was so."""

    repo_id: str
    successor: str | None
    commit: str
    is_new: bool


def deprecate_repository(
    repo_id: str,
    successor: str | None,
    *,
    note: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Deprecated:
    """Name the successor in the card of a repository's main branch, or take that back.

    Args:
        repo_id: ``owner/name``.
        successor: what to use instead, a repository of the same Hub; None takes a deprecation back.
        note: why, in any words; shown as text, whatever it holds.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: with write access; by default the one of ``hf auth login`` or HF_TOKEN.

    Raises:
        HubError: if the successor is not there or is the repository itself, if there is no card, or if the
            Hub refuses or does not answer.
    """
    api = hub_api(endpoint, token)
    where = f"deprecation of {repo_id}"
    with one_line_refusals(where, api.endpoint), TemporaryDirectory() as folder:
        if successor is not None:
            _check_successor(api, repo_id, successor, where)
        return until_current(lambda: _change_card(api, repo_id, successor, note, Path(folder)))


def deprecated_card(card: str, successor: str | None, note: str | None = None) -> str:
    """Return a card with the successor in its metadata and a notice on top; without both for None.

    Args:
        card: the text of a README.md, deprecated already or not.
        successor: ``owner/name``.
        note: why; one line of text is made of it.
    """
    opening, metadata, closing, body = _parts(card)
    if successor is None and not (_NEW_VERSION.search(metadata) or _NOTICE.search(body)):
        return card
    metadata, body = _NEW_VERSION.sub("", metadata), _NOTICE.sub("", body)
    if successor is not None:
        metadata += f"new_version: {json.dumps(successor)}\n"
        because = inline(note or "")
        body = (
            f"\n> **Deprecated:** use {inline(successor)} instead.{' ' if because else ''}{because}\n{body}"
        )
    return f"{opening}{metadata}{closing}{body}" if metadata else body


def _parts(card: str) -> tuple[str, str, str, str]:
    match = _FRONT_MATTER.match(card)
    return (*match.groups(), card[match.end() :]) if match else ("---\n", "", "---\n", card)  # type: ignore[return-value]


def _check_successor(api: HfApi, repo_id: str, successor: str, where: str) -> None:
    validate_repo_id(successor)
    if successor == repo_id:
        raise HubError(f"{where}: it cannot be its own successor: name another repository")
    if not api.repo_exists(successor):
        raise HubError(f"{where}: {api.endpoint} has no {successor}: publish it first, or name another one")


def _change_card(
    api: HfApi, repo_id: str, successor: str | None, note: str | None, folder: Path
) -> Deprecated:
    head = commit_of(api.model_info(repo_id))
    try:
        card = Path(api.hf_hub_download(repo_id, CARD, revision=head, local_dir=folder))
    except RemoteEntryNotFoundError:
        raise HubError(f"deprecation of {repo_id}: it has no {CARD} to say so in; write one first") from None
    try:
        before = card.read_bytes().decode()
        after = deprecated_card(before, successor, note)
        named = ModelCard(after).data.get("new_version")
    except Exception as error:  # whatever YAML or the Hub's library raise on such a card
        raise HubError(
            f"deprecation of {repo_id}: its {CARD} is no card to add to: {one_line(error)}; mend it first"
        ) from None
    if after == before:
        return Deprecated(repo_id, successor, head, False)
    if named != successor:
        raise HubError(f"deprecation of {repo_id}: its {CARD} names the new version {named!r}: mend it first")
    card.write_bytes(after.encode())
    files = {CARD: card}
    manifest = published_manifest(api, repo_id, head)
    if manifest is not None and CARD in manifest.files:
        changed = manifest.model_copy(update={"files": {**manifest.files, CARD: hash_file(card)}})
        write_manifest(folder / MANIFEST, changed)
        files[MANIFEST] = folder / MANIFEST
    commit = commit_files(
        api,
        repo_id,
        files,
        branch=constants.DEFAULT_REVISION,
        parent=head,
        delete=(),
        message="Take the deprecation back" if successor is None else f"Deprecate in favour of {successor}",
    )
    return Deprecated(repo_id, successor, commit.oid, True)
