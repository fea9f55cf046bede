import os
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_hub_case import LocalHub, commit, everything_in, file_line, send

from sparsezoo_hub.hub.local_hub.names import check_file_path, check_repo_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError

NAMES = st.one_of(
    st.text(max_size=12),
    st.lists(
        st.sampled_from(
            ["..", ".", "", "a", ".git", ".GIT", "git~1", "~", "C:", "\0", "\\", "con", "\u200c.git"]
        ),
        min_size=1,
        max_size=5,
    ).map("/".join),
    st.sampled_from(
        ["/etc/passwd", "../token", "a/../../token", "%2e%2e/token", "a" * 300, "\ud800", "a\nb"]
    ),
)


@pytest.fixture(scope="module")
def attacked(local_hub: LocalHub, new_repo: Callable[[], str]) -> tuple[str, set[str]]:
    """A repository, and every file around it."""
    repo_id = new_repo()
    git = f"hub/models/{repo_id}.git/"
    return repo_id, {name for name in everything_in(local_hub.root.parent) if not name.startswith(git)}


@settings(max_examples=30, deadline=None)
@given(path=NAMES)
def test_no_path_reaches_outside_of_its_repository(
    local_hub: LocalHub, attacked: tuple[str, set[str]], path: str
) -> None:
    repo_id, untouched = attacked
    answer = commit(local_hub, repo_id, file_line(path, b"escaped"))
    try:
        check_file_path(path)
        allowed = True
    except RefusalError:
        allowed = False
    parts = path.split("/")
    if {"", ".", "..", ".git"} & {part.lower() for part in parts} or "\\" in path or "\0" in path:
        assert not allowed
    # A path may also be refused because an example before made a folder of that name.
    assert answer.status_code == 200 or not allowed or "a file and a folder" in answer.json()["error"]
    assert answer.status_code in {200, 400}
    git = f"hub/models/{repo_id}.git/"
    names = everything_in(local_hub.root.parent)
    assert {name for name in names if not name.startswith(git)} == untouched
    inside = {name.removeprefix(git).split("/")[0] for name in names if name.startswith(git)}
    assert inside <= {"HEAD", "config", "description", "info", "objects", "refs"}


@settings(max_examples=300, deadline=None)
@given(owner=NAMES, name=st.one_of(NAMES, st.just("m")))
def test_a_repository_id_that_is_accepted_names_one_folder_two_levels_below(owner: str, name: str) -> None:
    try:
        repo_id = check_repo_id(owner, name)
    except RefusalError:
        return
    for top in (Path("/hub/models"), Path("/hub/moved")):
        path = Path(os.path.normpath(f"{top}/{repo_id}.git"))
        assert (path.parent.parent, path.parent.name, path.name) == (top, owner, f"{name}.git")


@pytest.mark.parametrize("name", ["..", "%2e%2e/%2e%2e", "..%2f..%2fx", "a%2f..%2f..", ".git", "%00", "%ff"])
def test_no_repository_name_reaches_outside_of_the_root(local_hub: LocalHub, name: str) -> None:
    for address in (
        f"/api/models/org/{name}",
        f"/{name}/x/resolve/main/token",
        f"/org/{name}/resolve/main/token",
        f"/api/models/{name}/x/refs",
        f"/api/models/org/{name}/tree/main",
    ):
        # Through http.client: the client would tidy the dots away.
        connection = HTTPConnection(local_hub.url.removeprefix("http://"))
        connection.request("GET", address)
        answer = connection.getresponse()
        assert (answer.status, b"error" in answer.read()) in {(400, True), (404, True)}
        connection.close()
    created = send(local_hub, "POST", "/api/repos/create", json={"name": name, "organization": ".."})
    assert created.status_code == 400
    for target in (f"../{name}", f"{name}/x", f"org/{name}/x"):
        body = {"fromRepo": "org/model-0", "toRepo": target}
        assert send(local_hub, "POST", "/api/repos/move", json=body).status_code in {400, 404}
