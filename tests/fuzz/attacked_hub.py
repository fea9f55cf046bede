"""A Hub under attack: what it is sent, and whether it is still what it was."""

import json
import re
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from hypothesis import strategies as st
from mutations import NASTY_TEXTS, values
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.server import ROUTES

SECONDS = 120  # for one answer, on a machine that is busy with something else
REPO = "org/attacked"
AS_JSON = {"Authorization": "Bearer TOKEN", "Content-Type": "application/json"}
_PARAMETER = re.compile(r"\{\w+(?::\w+)?\}")

Request = tuple[str, str, dict[str, str], bytes]


@dataclass(frozen=True)
class AttackedHub:
    address: str
    root: Path
    token: str
    said: IO[str]

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> int:
        """Send one request as it is, and return the status; the answer has to end as it announces.

        Where the Hub refuses before it has read the body, the connection may be reset on the answer's way:
        then that is what arrived of it, 0 if nothing did.
        """
        status = 0
        connection = HTTPConnection(self.address, timeout=SECONDS)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                connection.putheader(name, value.replace("TOKEN", self.token))
            connection.endheaders(body)
            answer = connection.getresponse()
            status = answer.status
            answer.read()
        except (ConnectionResetError, BrokenPipeError):
            pass
        finally:
            connection.close()
        return status

    def complaints(self) -> str:
        """Everything that the server wrote to its standard error."""
        self.said.seek(0)
        return self.said.read()

    def outside(self) -> dict[str, int]:
        """Every file beside the Hub's root, by its size."""
        files = (path for path in self.root.parent.rglob("*") if path.is_file())
        return {str(path): path.stat().st_size for path in files if not path.is_relative_to(self.root)}

    def create(self) -> None:
        """Make sure that there is a repository to attack."""
        body = json.dumps({"name": "attacked", "organization": "org"}).encode()
        self.send("POST", "/api/repos/create", AS_JSON, body)


_SEGMENTS = (
    "org", "attacked", "main", "refs%2Fpr%2F1", "refs/pr/1", "README.md", "a/b", "1", "0", "-1", "..",
    "%2e%2e",
    "..%2f..%2ftoken", "%00", "%ff", ".git", "a" * 300, "v1", "HEAD", "refs%2Fheads%2Fmain", "0" * 40,
    "f" * 64,
    "org%2Fattacked", "attacked.git", "%F0%9F%98%80", "", "settings", "%0d%0aX-Evil:%201",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW")
_BODIES: tuple[Any, ...] = (
    {"name": "attacked", "organization": "org", "private": True, "visibility": "public", "type": "model"},
    {"fromRepo": REPO, "toRepo": "org/moved", "type": "model"},
    {"private": False, "visibility": "private", "gated": False},
    {"files": [{"path": "a.bin", "sample": "AAAA", "size": 4}], "gitAttributes": "x"},
    {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [{"oid": "f" * 64, "size": 9}]},
    {"operation": "download", "objects": [{"oid": "0" * 64, "size": 0}]},
    {"oid": "f" * 64, "size": 9, "parts": [{"partNumber": 1, "etag": "x"}]},
    {"title": "a title", "description": "text", "pullRequest": True},
    {"comment": "text", "status": "closed", "content": "---\nlicense: mit\n---\n", "repoType": "model"},
    {"tag": "v1", "message": "", "startingPoint": "main", "paths": ["a", "b"], "expand": True},
)
_COMMIT: tuple[Any, ...] = (
    {"key": "header", "value": {"summary": "s", "description": "", "parentCommit": "0" * 40}},
    {"key": "file", "value": {"content": "QQ==", "path": "a.txt", "encoding": "base64"}},
    {"key": "lfsFile", "value": {"path": "b.bin", "algo": "sha256", "oid": "f" * 64, "size": 9}},
    {"key": "deletedFile", "value": {"path": "a.txt"}},
    {"key": "deletedFolder", "value": {"path": "a"}},
    {"key": "copyFile", "value": {"path": "c", "srcPath": "a.txt"}},
)


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _targets(route: Route) -> st.SearchStrategy[str]:
    nasty = st.text(max_size=8) | st.sampled_from(NASTY_TEXTS)
    segment = st.sampled_from(_SEGMENTS) | nasty.map(_encoded)
    owner_and_name = st.sampled_from(["org", "attacked"]) | segment
    count = len(_PARAMETER.findall(route.path))
    # The first two parameters of most routes are the repository's owner and name.
    parts = st.tuples(*(owner_and_name if place < 2 else segment for place in range(count)))

    def filled(given: tuple[str, ...]) -> str:
        rest = iter(given)
        return _PARAMETER.sub(lambda _: next(rest), route.path)

    own = parts.map(lambda given: ("org", "attacked", *given[2:])[:count] if count > 1 else given)
    query = st.sampled_from(
        ["", "", "?limit=-1", "?limit=x", "?recursive=1&expand=1", "?cursor=%ff", "?p=-1&num=1e9",
         "?create_pr=1",
         "?sort=..&direction=0", "?filter=&search=%00", "?private=maybe&expand=sha",
         "?service=git-upload-pack"]
    ) | st.text(max_size=10).map(lambda text: "?" + _encoded(text))  # fmt: skip
    return st.builds(lambda path, rest: path + rest, (own | parts).map(filled), query)


def _headers() -> st.SearchStrategy[dict[str, str]]:
    latin = st.text(
        st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20
    )
    authorization = (
        st.sampled_from(["Bearer TOKEN"] * 4 + ["Bearer x", "Bearer", "Basic eDp4", "Basic =", ""]) | latin
    )
    optional = {
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "application/x-ndjson",
                "application/x-www-form-urlencoded",
                "text/plain",
                "x",
            ]
        ),
        "Range": st.sampled_from(
            ["bytes=0-", "bytes=-1", "bytes=5-2", "bytes=0-0,1-1", "bytes=9999999999999-", "x"]
        ),
        "Accept": latin,
        "Content-Encoding": st.sampled_from(["gzip", "x"]),
        "If-None-Match": latin,
        "Host": st.sampled_from(["evil.example", "", "a:b:c", "[::1"]),
        "X-Forwarded-Host": latin,
        "X-Forwarded-Proto": latin,
        "Cookie": latin,
    }
    return st.builds(
        lambda given, rest: {"Authorization": given, **rest},
        authorization,
        st.fixed_dictionaries({}, optional=optional),
    )


def _bodies() -> st.SearchStrategy[bytes]:
    document = st.sampled_from(_BODIES).flatmap(values).map(_json)
    lines = st.lists(st.sampled_from(_COMMIT).flatmap(values).map(_json), max_size=5).map(b"\n".join)
    form = st.sampled_from(
        [b"paths=a&paths=b&expand=true", b"paths=%ff", b"&&=", b"0032want " + b"0" * 40 + b"\n"]
    )
    return st.just(b"") | document | lines | form | st.binary(max_size=60)


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()


def requests() -> st.SearchStrategy[Request]:
    """Any request: mostly to a route that there is, by a method that it may have."""
    routes = [route for route in ROUTES if isinstance(route, Route)]

    def to(route: Route) -> st.SearchStrategy[Request]:
        methods = st.sampled_from(sorted(route.methods or {"GET"}) * 3 + list(_METHODS))
        return st.tuples(methods, _targets(route), _headers(), _bodies())

    return st.sampled_from(routes).flatmap(to)
