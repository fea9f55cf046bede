"""What the Hub says about a model, and how models are found."""

import base64
import json
import threading
from dataclasses import dataclass
from typing import Any

from dulwich.objects import Commit
from dulwich.repo import Repo

from sparsezoo_hub.hub.local_hub.accounts import Account
from sparsezoo_hub.hub.local_hub.card_metadata import CARD_FILE, CardError, derive_tags, read_metadata
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH, Repositories, created_at
from sparsezoo_hub.hub.local_hub.revisions import find_commit
from sparsezoo_hub.hub.local_hub.trees import (
    commit_date,
    describe_entries,
    find_entry,
    list_entries,
    read_file,
)

SORT_KEYS = ("lastModified", "createdAt")


@dataclass(frozen=True, slots=True)
class ModelQuery:
    """Which models to list.

    Args:
        tags: all of them must be among a model's tags.
        author: owner of the repository.
        words: all of them must occur in its id, whatever their case.
        sort: one of `SORT_KEYS`; the latest first.
        limit: how many to return.
        cursor: where the page before ended.
    """

    tags: tuple[str, ...]
    author: str | None
    words: tuple[str, ...]
    sort: str
    limit: int
    cursor: str | None


class ModelIndex:
    """Finds models; what it has read of a commit it does not read again.

    Args:
        repositories: where the models are.
    """

    def __init__(self, repositories: Repositories) -> None:
        self._repositories = repositories
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}

    def find(self, query: ModelQuery, account: Account) -> tuple[list[dict[str, Any]], str | None]:
        """Return a page of models that `account` may see, and where the next one begins if there is one."""
        ids = self._repositories.ids()
        found = [model for repo_id in ids if (model := self._read(repo_id, query, account))]
        found.sort(key=lambda model: _place(model, query.sort), reverse=True)
        if query.cursor is not None:
            after = _decode_cursor(query.cursor)
            found = [model for model in found if _place(model, query.sort) < after]
        page = found[: query.limit]
        return page, _encode_cursor(_place(page[-1], query.sort)) if len(found) > len(page) and page else None

    def _read(self, repo_id: str, query: ModelQuery, account: Account) -> dict[str, Any] | None:
        author = repo_id.split("/", maxsplit=1)[0]
        if query.author is not None and author.lower() != query.author.lower():
            return None
        if not all(word in repo_id.lower() for word in query.words):
            return None
        try:
            private = self._repositories.is_private(repo_id)
            if not account.may_read(repo_id, private=private):
                return None
            with self._repositories.opened(repo_id) as repo:
                commit = find_commit(repo, repo_id, DEFAULT_BRANCH)
                with self._lock:
                    model = self._known.get(repo_id)
                if model is None or model["sha"] != commit.id.decode():
                    model = describe_model(repo, repo_id, commit, private=private)
                    with self._lock:
                        self._known[repo_id] = model
        except RefusalError:
            # Deleted between the listing and now, or damaged: the others are still to be found.
            return None
        # What was read of the commit may be older than the visibility.
        return {**model, "private": private} if set(query.tags) <= set(model["tags"]) else None


def describe_model(
    repo: Repo, repo_id: str, commit: Commit, *, private: bool, sizes: bool = False
) -> dict[str, Any]:
    """Return what the client's `model_info` expects.

    Args:
        repo: the repository.
        repo_id: its id.
        commit: the revision.
        private: whether only its owner may see it.
        sizes: whether to tell the size and the ids of every file.
    """
    entries = [entry for entry in list_entries(repo, commit) or [] if not entry.is_folder]
    siblings: list[dict[str, Any]] = [{"rfilename": entry.path} for entry in entries]
    if sizes:
        for sibling, fields in zip(siblings, describe_entries(repo, entries), strict=True):
            sibling |= {"size": fields["size"], "blobId": fields["oid"]}
            if "lfs" in fields:
                sibling["lfs"] = {**fields["lfs"], "sha256": fields["lfs"]["oid"]}
    metadata = _read_card(repo, commit)
    return {
        "_id": repo_id,
        "id": repo_id,
        "modelId": repo_id,
        "author": repo_id.split("/", maxsplit=1)[0],
        "sha": commit.id.decode(),
        "lastModified": commit_date(commit),
        "createdAt": created_at(repo),
        "private": private,
        "gated": False,
        "disabled": False,
        "tags": derive_tags(metadata),
        "pipeline_tag": metadata.get("pipeline_tag"),
        "library_name": metadata.get("library_name"),
        "cardData": metadata,
        "siblings": siblings,
    }


def _read_card(repo: Repo, commit: Commit) -> dict[str, Any]:
    entry = find_entry(repo, commit, CARD_FILE)
    if entry is None or entry.is_folder:
        return {}
    try:
        return read_metadata(read_file(repo, entry).blob.decode()) or {}
    except (CardError, UnicodeDecodeError):
        # Only what git itself brought here can be that bad; the model is still worth listing.
        return {}


def _place(model: dict[str, Any], sort: str) -> tuple[str, str]:
    return model[sort], model["id"]


def _encode_cursor(place: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _decode_cursor(cursor: str) -> tuple[str, str]:
    try:
        date, repo_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError, RecursionError):
        date = repo_id = None
    if not isinstance(date, str) or not isinstance(repo_id, str):
        raise RefusalError(
            400, f"cursor={cursor!r} is none of this Hub's: follow the Link header of the page before"
        )
    return date, repo_id
