import contextlib
import json
import socket
from base64 import b64encode

import pytest
from attacked_hub import AS_JSON, REPO, SECONDS, AttackedHub, Request, requests
from hypothesis import given
from hypothesis import strategies as st

# What a server answers that failed by itself; 507 is a full disk.
BROKEN = 500


def still_sound(hub: AttackedHub, before: dict[str, int]) -> None:
    assert hub.send("GET", "/api/whoami-v2", {"Authorization": "Bearer TOKEN"}, b"") == 200
    assert hub.send("GET", f"/api/models/{REPO}", {"Authorization": "Bearer TOKEN"}, b"") in {
        200,
        404,
        301,
        307,
        308,
    }
    assert "Traceback" not in hub.complaints()
    assert hub.outside() == before


@given(sent=st.lists(requests(), min_size=1, max_size=4))
def test_no_request_breaks_the_hub(attacked_hub: AttackedHub, sent: list[Request]) -> None:
    before = attacked_hub.outside()
    attacked_hub.create()
    for method, target, headers, body in sent:
        assert attacked_hub.send(method, target, headers, body) < BROKEN, (method, target, headers, body)
    still_sound(attacked_hub, before)


@given(
    lines=st.lists(
        st.sampled_from(
            [b"GET /", b"POST /api/repos/create", b" HTTP/1.1", b" HTTP/9.9", b"\r\n", b"\n", b"\r", b": ",
             b"Host: x",
             b"Transfer-Encoding: chunked", b"Content-Length: -1", b"Content-Length: 99",
             b"Content-Length: 1e9",
             b"ffffffffffffffff", b"0", b"5", b"abcde", b"\0", b"\xff" * 9, b"Expect: 100-continue",
             b"X: " + b"y" * 70_000]
        )
        | st.binary(max_size=12),
        max_size=14,
    )
)  # fmt: skip
def test_no_bytes_break_the_hub(attacked_hub: AttackedHub, lines: list[bytes]) -> None:
    before = attacked_hub.outside()
    host, _, port = attacked_hub.address.partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=SECONDS) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(b"".join(lines) + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert not connection.recv(64).startswith(b"HTTP/1.1 5"), lines
    still_sound(attacked_hub, before)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", f"/api/models/{REPO}/settings", {"visibility": []}),
        ("POST", "/api/repos/create", {"name": "x", "organization": "org", "visibility": {}}),
        ("POST", f"/api/models/{REPO}/duplicate", {"repository": "org/copy", "visibility": []}),
        ("POST", f"/{REPO}.git/info/lfs/objects/batch", {"operation": [], "objects": []}),
        ("POST", f"/api/models/{REPO}/preupload/main", {"files": [{"path": "a", "size": 1, "sample": "é"}]}),
        ("POST", f"/api/models/{REPO}/preupload/main", {"files": [], "gitIgnore": "\ud800"}),
        ("GET", "/api/models?cursor=NQ==", {}),
        *(
            ("POST", "/api/validate-yaml", {"content": f"---\na: {value}\n---\n", "repoType": "model"})
            for value in ("!!bool x", "!!int ''", "!!timestamp x", "0x" + "f" * 5000)
        ),
    ],
)
def test_what_was_found_once_is_refused(
    attacked_hub: AttackedHub, method: str, target: str, body: dict[str, object]
) -> None:
    attacked_hub.create()
    assert 400 <= attacked_hub.send(method, target, AS_JSON, json.dumps(body).encode()) < BROKEN


def test_a_card_that_no_answer_can_carry_is_refused_before_it_breaks_every_listing(
    attacked_hub: AttackedHub,
) -> None:
    attacked_hub.create()
    card = b64encode(b"---\na: 0x" + b"f" * 5000 + b"\n---\n").decode()
    lines = (
        {"key": "header", "value": {"summary": "s"}},
        {"key": "file", "value": {"content": card, "path": "README.md", "encoding": "base64"}},
    )
    headers = {"Authorization": "Bearer TOKEN", "Content-Type": "application/x-ndjson"}
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    assert attacked_hub.send("POST", f"/api/models/{REPO}/commit/main", headers, body) == 400
    assert attacked_hub.send("GET", "/api/models", headers, b"") == 200
