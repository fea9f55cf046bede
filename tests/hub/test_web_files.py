from collections.abc import Callable

from local_hub_case import LocalHub, commit, file_line
from web_case import get, words


def test_files_folders_and_their_revisions_are_shown(
    local_hub: LocalHub, new_repo: Callable[[], str]
) -> None:
    repo_id, api = new_repo(), local_hub.api
    api.upload_file(repo_id=repo_id, path_or_fileobj=b"old\n", path_in_repo="a/b/c.txt")
    api.create_branch(repo_id, branch="old/one")
    api.upload_file(
        repo_id=repo_id, path_or_fileobj=b"new\n", path_in_repo="a/b/c.txt", commit_message="Newer"
    )
    api.upload_file(repo_id=repo_id, path_or_fileobj=b"w" * 9, path_in_repo="m.safetensors")
    top = get(local_hub, f"/{repo_id}/tree/main")
    assert "a/ .gitattributes" in words(top)
    # printf wwwwwwwww | sha256sum
    assert "m.safetensors 9 bytes 6e39047ec64324a7… download" in words(top)
    assert "download .. (up) b/" in words(get(local_hub, f"/{repo_id}/tree/main/a"))
    assert "new" in words(get(local_hub, f"/{repo_id}/blob/main/a/b/c.txt"))
    old = get(local_hub, f"/{repo_id}/blob/old%2Fone/a/b/c.txt")
    assert words(old).endswith("Download old")
    assert f'href="/{repo_id}/resolve/old%2Fone/a/b/c.txt"' in old.text
    assert "old/one" in words(top)
    for path, leads_to in [("tree/main/a/b/c.txt", "blob/main/a/b/c.txt"), ("blob/main/a", "tree/main/a")]:
        assert get(local_hub, f"/{repo_id}/{path}").headers["location"] == f"/{repo_id}/{leads_to}"
    for path in ("tree/main/none", "blob/main/a/none", "tree/none", "commits/none", "commit/none"):
        missing = get(local_hub, f"/{repo_id}/{path}")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
    commits = words(get(local_hub, f"/{repo_id}/commits/main"))
    assert commits.index("m.safetensors") < commits.index("Newer") < commits.index("initial commit")
    change = get(local_hub, f"/{repo_id}/commit/{api.list_repo_commits(repo_id)[1].commit_id}")
    assert "1 file changed changed a/b/c.txt 4 bytes" in words(change)
    assert '<span class="minus">-old\n</span><span class="plus">+new\n</span>' in change.text


def test_a_text_of_many_lines_and_a_binary_file_are_shown_as_far_as_they_can_be(
    local_hub: LocalHub, new_repo: Callable[[], str]
) -> None:
    repo_id = new_repo()
    files = {"long.txt": b"x\n" * 6000, "wide.txt": b"x" * 600_000, "bin.dat": b"\0\1"}
    lines = [file_line(path, content) for path, content in files.items()]
    assert commit(local_hub, repo_id, *lines).status_code == 200
    assert "5,000 of 6,000 lines are shown" in words(get(local_hub, f"/{repo_id}/blob/main/long.txt"))
    assert "Larger than 524 kB" in words(get(local_hub, f"/{repo_id}/blob/main/wide.txt"))
    assert "Not a text" in words(get(local_hub, f"/{repo_id}/blob/main/bin.dat"))


def test_discussions_and_pull_requests_can_be_read(local_hub: LocalHub, new_repo: Callable[[], str]) -> None:
    repo_id, api = new_repo(), local_hub.api
    assert "None yet." in words(get(local_hub, f"/{repo_id}/discussions"))
    opened = api.create_discussion(repo_id, title="Why?", description="Because *of* it.")
    api.comment_discussion(repo_id, opened.num, "I see.")
    proposed = api.upload_file(
        repo_id=repo_id,
        path_or_fileobj=b"hello\n",
        path_in_repo="a.txt",
        create_pr=True,
        commit_message="Say it",
    )
    listed = words(get(local_hub, f"/{repo_id}/discussions"))
    assert "Say it pull request, open" in listed
    assert "Why? discussion, open" in listed
    shown = get(local_hub, f"/{repo_id}/discussions/{opened.num}")
    assert "<em>of</em>" in shown.text
    assert words(shown).index("Because of it.") < words(shown).index("I see.")
    # What the client was told to look at.
    pull_request = get(local_hub, str(proposed.pr_url).removeprefix(local_hub.url))
    assert "+hello" in words(pull_request)
    assert "hello" in words(get(local_hub, f"/{repo_id}/blob/refs%2Fpr%2F{proposed.pr_num}/a.txt"))
    assert get(local_hub, f"/{repo_id}/discussions/99").status_code == 404


def test_the_address_that_a_commit_answers_with_is_a_page(local_hub: LocalHub, repo_id: str) -> None:
    url = commit(local_hub, repo_id, file_line("a.txt", b"a\n")).json()["commitUrl"]
    answer = get(local_hub, url.removeprefix(local_hub.url))
    assert answer.status_code == 200
    assert "by hand" in words(answer)
