"""Who asks, and which repositories they may see and change.

A token comes as `Authorization: Bearer TOKEN`, or from git and browsers as the password of HTTP Basic. A
browser sends that by itself, even when another site makes it ask: so by Basic one may only read.
"""

import base64
import binascii
from dataclasses import replace

from dulwich.repo import Repo
from starlette.requests import Request

from sparsezoo_hub.hub.local_hub.accounts import NOBODY, Account
from sparsezoo_hub.hub.local_hub.api.request_parts import hub_of, repo_id_of
from sparsezoo_hub.hub.local_hub.held_files import HeldFiles
from sparsezoo_hub.hub.local_hub.hub_state import HubState
from sparsezoo_hub.hub.local_hub.large_files import LargeFiles
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, repository_not_found

SIGN_IN = 'Basic realm="sparsezoo-hub", charset="UTF-8"'


def account_of(request: Request) -> Account:
    """Return who asks; `NOBODY` without a token, or with one that this Hub does not know.

    An unknown token is no error here: the client sends the one it has, which may be of another Hub.
    """
    known = getattr(request.state, "account", None)
    if isinstance(known, Account):
        return known
    token, is_bearer = _given_token(request)
    account = hub_of(request).find_account(token) if token else NOBODY
    if not is_bearer:
        account = replace(account, can_write=False)
    request.state.account = account
    return account


def require_account(request: Request) -> Account:
    """Return who asks.

    Raises:
        RefusalError: 401, if there is no token that this Hub knows.
    """
    account = account_of(request)
    if account.is_known:
        return account
    given, _ = _given_token(request)
    headers = {"WWW-Authenticate": "Bearer"}
    if given:
        # The client takes any other sentence, over https, for a repository that is not there.
        headers["X-Error-Message"] = "Invalid credentials in Authorization header"
    raise RefusalError(
        401,
        f"this needs a token of this Hub, got {'another one' if given else 'none'}: pass token=..., or set"
        " HF_TOKEN; 'sparsezoo-hub serve token create' makes one, and the file 'token' in the Hub's folder"
        " holds the administrator's",
        headers=headers,
    )


def require_writer(request: Request) -> Account:
    """Return who asks.

    Raises:
        RefusalError: 401, if there is no token that this Hub knows; 403, if it may only read.
    """
    account = require_account(request)
    if not account.can_write:
        raise RefusalError(
            403,
            f"the token of {account.name!r} may only read here: send one with write scope, made by"
            " 'sparsezoo-hub serve token create --scope write', as a Bearer token",
        )
    return account


def require_namespace(account: Account, repo_id: str) -> None:
    """Refuse a repository id outside of what `account` owns.

    Raises:
        RefusalError: 403.
    """
    if not account.may_write(repo_id):
        raise RefusalError(
            403,
            f"{repo_id}: the token of {account.name!r} may change the repositories of {account.name!r} only;"
            " use that owner, or another token",
        )


def find_repo(request: Request, repo_id: str) -> HubState:
    """Return the Hub, if it has this repository and whoever asks may see it.

    Raises:
        RefusalError: 404, the same whether it is not there or not to be seen.
    """
    if not may_see(request, repo_id):
        raise repository_not_found(repo_id)
    return hub_of(request)


def may_see(request: Request, repo_id: str) -> bool:
    """Whether there is such a repository, and whoever asks may see it."""
    try:
        private = hub_of(request).repositories.is_private(repo_id)
    except RefusalError:
        return False
    return account_of(request).may_read(repo_id, private=private)


def read_repo(request: Request) -> tuple[HubState, str]:
    """Return the Hub and the repository that the address names, if whoever asks may see it.

    Raises:
        RefusalError: 404, the same whether it is not there or not to be seen; 307, to the same address of
            its new id, if it was moved.
    """
    repo_id = repo_id_of(request)
    try:
        return find_repo(request, repo_id), repo_id
    except RefusalError:
        moved = hub_of(request).repositories.moved_to(repo_id)
        if moved is None or not may_see(request, moved):
            raise
        raise _has_moved(request, repo_id, moved) from None


def write_repo(request: Request) -> tuple[HubState, str]:
    """Return the Hub and the repository that the address names, if whoever asks may change it.

    Raises:
        RefusalError: 401 without a token, 404 if they may not see it, 403 if they may not change it.
    """
    account = require_account(request)
    hub, repo_id = read_repo(request)
    require_writer(request)
    require_namespace(account, repo_id)
    return hub, repo_id


def contribute_repo(request: Request) -> tuple[HubState, str]:
    """Return the Hub and the repository that the address names, if whoever asks may propose a change to it.

    That is everybody with a write token who may see it, as on the public Hub: for discussions, pull
    requests, and the large files that belong to them.

    Raises:
        RefusalError: 401 without a token, 404 if they may not see it, 403 if their token may only read.
    """
    require_account(request)
    hub, repo_id = read_repo(request)
    require_writer(request)
    return hub, repo_id


def browse_repo(request: Request) -> tuple[HubState, str]:
    """Return what `read_repo` does, and ask for a name and a token where it would refuse nobody.

    For git and browsers, which send a token only once they are asked. The question is the same whether the
    repository is not there or not to be seen.

    Raises:
        RefusalError: 401 without a token, 404 with one, if there is nothing to see.
    """
    try:
        return read_repo(request)
    except RefusalError as refusal:
        if refusal.code != "RepoNotFound" or account_of(request).is_known:
            raise
        raise RefusalError(
            401,
            f"{refusal.message}; if it is private, sign in with its owner's name and, as password, a token",
            code=refusal.code,
            headers={"WWW-Authenticate": SIGN_IN},
        ) from None


def held_files(request: Request, repo: Repo) -> LargeFiles:
    """Return the large files that whoever asks may put into `repo` without sending them.

    The administrator may use all of them, since they may read every repository.
    """
    hub = hub_of(request)
    return hub.large_files if account_of(request).is_administrator else HeldFiles(hub.root, repo)


def _has_moved(request: Request, repo_id: str, moved: str) -> RefusalError:
    path, prefix = request.url.path, "/api/models"
    start = prefix if path.startswith(f"{prefix}/") else ""
    # As it was sent, where a letter may be spelt as %xx.
    sent = "{owner}/{name}".format_map(request.path_params)
    address = start + path.removeprefix(start).replace(sent, moved, 1)
    if request.url.query:
        address += f"?{request.url.query}"
    # Relative, since the client follows no other redirect when it downloads.
    return RefusalError(307, f"{repo_id} is {moved} now", headers={"Location": address})


def _given_token(request: Request) -> tuple[str, bool]:
    """Return the token, "" if there is none, and whether it came as a Bearer token."""
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    given = given.strip()
    if kind.lower() == "bearer":
        return given, True
    if kind.lower() != "basic":
        return "", False
    try:
        _, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", False
    return password, False
