import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from click.testing import Result
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from local_hub_case import LocalHub
from owner_case import make_owner
from typer.testing import CliRunner

from sparsezoo_hub.cli.serve import serve
from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.tokens import Tokens


def command(*arguments: str) -> Result:
    return CliRunner().invoke(serve, ["token", *arguments])


def test_a_token_works_as_soon_as_it_is_made_and_until_it_is_revoked(local_hub: LocalHub) -> None:
    root = ["--root", str(local_hub.root)]
    made = command("create", *root, "--owner", "carol", "--scope", "read")
    token = made.stdout.strip()
    assert (made.exit_code, made.stdout, made.stderr) == (0, f"{token}\n", "")
    account = HfApi(endpoint=local_hub.url, token=token).whoami()
    assert (account["name"], account["auth"]["accessToken"]["role"]) == ("carol", "read")
    listed = json.loads(command("list", *root, "--json").stdout)["tokens"]
    mine = {"id": hashlib.sha256(token.encode()).hexdigest(), "owner": "carol", "scope": "read"}
    (record,) = [record for record in listed if record["owner"] == "carol"]
    assert {key: record[key] for key in mine} == mine
    revoked = command("revoke", *root, record["id"][:12])
    assert (revoked.exit_code, revoked.stdout) == (
        0,
        f"revoked {record['id'][:12]}, the read token of carol\n",
    )
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=local_hub.url, token=token).whoami()
    again = command("revoke", *root, record["id"][:12])
    assert (again.exit_code, str(again.exception)[:9]) == (1, "0 tokens ")


@pytest.mark.parametrize("owner", ["api", "models", "../x", "a/b", "", "x" * 100])
def test_a_name_that_cannot_own_repositories_gets_no_token(tmp_path: Path, owner: str) -> None:
    with pytest.raises(HubError, match="cannot own repositories"):
        Tokens(tmp_path / "hub").create(owner, "write")
    assert not (tmp_path / "hub").exists()


def test_tokens_are_on_the_disk_as_hashes_only_and_only_the_keeper_can_read_them(
    local_hub: LocalHub,
) -> None:
    alice = make_owner(local_hub, "alice")
    folder = alice.hub.root / "tokens"
    names = {path.name for path in folder.iterdir()}
    assert {hashlib.sha256(token.encode()).hexdigest() for token in (alice.write, alice.read)} <= names
    for path in folder.iterdir():
        assert alice.write[3:] not in path.name + path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_token_that_root_makes_can_be_read_by_the_server_that_owns_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 4321, 1234)
    Tokens(tmp_path).create("alice", "read")
    made = [tmp_path / "tokens", *(tmp_path / "tokens").iterdir()]
    assert [(path.stat().st_uid, path.stat().st_gid) for path in made] == [(4321, 1234)] * 2


def test_a_root_that_is_not_there_has_no_list_of_tokens(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="is no folder: check --root"):
        Tokens(tmp_path / "hub").records()


def test_a_damaged_record_opens_nothing_and_is_named(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    token = tokens.create("alice", "write")
    (path,) = (tmp_path / "tokens").iterdir()
    for content in ("", "[]", '{"owner": "alice", "scope": "all", "createdAt": ""}', '{"owner": ""}', "\0"):
        path.write_text(content)
        assert tokens.find(token) is None
        with pytest.raises(HubError, match=re.escape(str(path))):
            tokens.records()
