import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import parse_ratelimit_headers
from local_hub_case import LocalHub, commit, everything_in, file_line, send
from typer.testing import CliRunner

from sparsezoo_hub.cli.serve import serve
from sparsezoo_hub.errors import HubError
from sparsezoo_hub.hub.local_hub.limits import RequestCounter
from sparsezoo_hub.hub.local_hub.process import HubAddress
from sparsezoo_hub.hub.local_hub.server import serve as serve_hub
from sparsezoo_hub.hub.local_hub.tokens import Tokens

COMMAND = [sys.executable, "-c", "from sparsezoo_hub.cli.serve import serve; serve()"]
PROXY = "127.0.0.2"  # loopback as well, on Linux: a second address without a second machine
MOST = 30
LARGEST = 1_000_000


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    root = tmp_path_factory.mktemp("limited") / "hub"
    options = ["--max-file-size", "1 MB", "--requests-per-minute", str(MOST), "--trusted-proxy", PROXY]
    with subprocess.Popen(
        [*COMMAND, "--root", str(root), "--port", "0", *options], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" at ")[2].partition(";")[0]
        token = (root / "token").read_text().strip()
        with httpx2.Client(base_url=url) as client:
            yield LocalHub(HubAddress(url, token, server.pid), root, HfApi(endpoint=url, token=token), client)
        server.terminate()


@contextmanager
def proxy(hub: LocalHub, client_address: str) -> Iterator[httpx2.Client]:
    """A client that is the proxy, which answers for the client at `client_address` and for https."""
    headers = {"X-Forwarded-For": client_address, "X-Forwarded-Proto": "https", "Host": "hub.example"}
    transport = httpx2.HTTPTransport(local_address=PROXY)
    with httpx2.Client(base_url=hub.url, headers=headers, transport=transport) as client:
        yield client


def test_a_window_has_so_many_requests_and_then_a_new_one_begins() -> None:
    counter = RequestCounter(2)
    assert [counter.count("a", now) for now in (100.0, 130.0, 140.0, 159.5)] == [None, None, 20.0, 0.5]
    assert counter.count("b", 159.5) is None
    assert [counter.count("a", now) for now in (160.0, 161.0, 162.0)] == [None, None, 58.0]
    # A caller who stayed away begins anew, whether or not they were forgotten meanwhile.
    assert [counter.count("b", now) for now in (500.0, 501.0, 502.0)] == [None, None, 58.0]


def test_too_many_requests_of_one_owner_are_refused_in_the_clients_words(limited: LocalHub) -> None:
    tokens = Tokens(limited.root)
    alice = {"Authorization": f"Bearer {tokens.create('alice', 'read')}"}
    bob = {"Authorization": f"Bearer {tokens.create('bob', 'write')}"}
    statuses = [limited.client.get("/api/whoami-v2", headers=alice).status_code for _ in range(MOST)]
    assert statuses == [200] * MOST
    refused = limited.client.get("/api/whoami-v2", headers=alice)
    told = parse_ratelimit_headers(refused.headers)
    assert told is not None
    assert (refused.status_code, told.remaining, told.limit, told.window_seconds) == (429, 0, MOST, 60)
    assert 0 < told.reset_in_seconds <= 60
    assert refused.headers["Retry-After"] == str(told.reset_in_seconds)
    assert refused.json()["error"].startswith(f"this Hub answers {MOST} requests in a minute: wait ")
    # Another of their tokens is no way around it; others are not held up.
    again = {"Authorization": f"Bearer {tokens.create('alice', 'write')}"}
    assert limited.client.get("/api/whoami-v2", headers=again).status_code == 429
    assert limited.client.get("/api/whoami-v2", headers=bob).status_code == 200
    assert {send(limited, "GET", "/api/whoami-v2").status_code for _ in range(MOST + 5)} == {200}


def test_without_a_token_it_is_the_address_that_counts_as_the_trusted_proxy_tells_it(
    limited: LocalHub,
) -> None:
    def statuses(client: httpx2.Client, **headers: str) -> list[int]:
        return [client.get("/api/models", headers=headers).status_code for _ in range(MOST + 1)]

    passed_then_refused = [200] * MOST + [429]
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        with proxy(limited, address) as client:
            assert statuses(client) == passed_then_refused
    with proxy(limited, "2001:db8::2") as neighbour:
        assert neighbour.get("/api/models").status_code == 429
    # From anywhere else the header is not believed: it is this one address that asks.
    with httpx2.Client(base_url=limited.url) as stranger:
        told = [
            stranger.get("/api/models", headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(9, 50)
        ]
    assert [answer.status_code for answer in told][-1] == 429


def test_behind_a_trusted_proxy_addresses_are_those_of_the_outside(limited: LocalHub) -> None:
    headers = {"Authorization": f"Bearer {limited.token}"}
    body = {"operation": "upload", "objects": [{"oid": "ab" * 32, "size": 5}]}
    with proxy(limited, "192.0.2.7") as client:
        made = client.post("/api/repos/create", json={"name": "outside"}, headers=headers)
        batch = client.post("/local/outside.git/info/lfs/objects/batch", json=body, headers=headers)
    assert made.json()["url"] == "https://hub.example/local/outside"
    actions = batch.json()["objects"][0]["actions"]
    assert [action["href"].split("/api/")[0] for action in actions.values()] == ["https://hub.example"] * 2
    believed = {"X-Forwarded-Proto": "https"}
    direct = send(limited, "POST", "/api/repos/create", json={"name": "inside"}, headers=believed)
    assert direct.json()["url"] == f"{limited.url}/local/inside"


def test_a_file_that_is_too_large_is_refused_on_every_way_and_not_stored(limited: LocalHub) -> None:
    api = limited.api
    api.create_repo("local/sizes")
    content = hashlib.shake_128(b"large").digest(LARGEST + 1)
    api.upload_file(repo_id="local/sizes", path_or_fileobj=content[:-1], path_in_repo="fits.bin")
    before = everything_in(limited.root)
    with pytest.raises(
        HfHubHTTPError, match=f"a.bin has {LARGEST + 1} bytes.* at most {LARGEST}: "
    ) as refusal:
        api.upload_file(repo_id="local/sizes", path_or_fileobj=content, path_in_repo="a.bin")
    body = {"operation": "upload", "objects": [{"oid": "cd" * 32, "size": LARGEST + 1}]}
    answers = [
        refusal.value.response,
        send(limited, "POST", "/local/sizes.git/info/lfs/objects/batch", json=body),
        commit(limited, "local/sizes", file_line("a.bin", content)),
    ]
    assert [answer.status_code for answer in answers] == [413] * 3
    assert everything_in(limited.root) == before


def test_a_request_that_is_too_long_is_refused(limited: LocalHub) -> None:
    for body in (b" " * ((8 << 20) + 1), b'"' + b"x" * (8 << 20) + b'"'):
        answer = send(limited, "POST", "/api/repos/create", content=body)
        assert (answer.status_code, "send less at once" in answer.json()["error"]) == (413, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give the Hub's folder"),
        (["--root", "hub", "--max-file-size", "much"], "must be a size"),
        (["--root", "hub", "--requests-per-minute", "0"], "--requests-per-minute"),
        (["--root", "hub", "--port", "65536"], "--port"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(serve, options)
    assert (done.exit_code, said in " ".join(done.output.split())) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_not_this_machines_is_refused_in_a_sentence(tmp_path: Path) -> None:
    # 192.0.2.0/24 is kept for documentation: no machine has an address of it.
    with pytest.raises(HubError, match=r"^port 0 on 192\.0\.2\.1 cannot be used \("):
        serve_hub(tmp_path, 0, token="x", host="192.0.2.1")  # noqa: S106
