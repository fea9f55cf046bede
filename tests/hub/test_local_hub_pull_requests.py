import json
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DiscussionComment, HfApi
from huggingface_hub.community import DiscussionCommit, DiscussionStatusChange
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from local_hub_case import LocalHub, commit, file_line, git, put_text, send

from sparsezoo_hub.hub.local_hub.process import running_hub

LINES = [f"line {number}\n" for number in range(20)]


def add(path: str, text: str) -> CommitOperationAdd:
    return CommitOperationAdd(path, text.encode())


def text_at(api: HfApi, repo_id: str, path: str, revision: str, cache: Path) -> str:
    return Path(api.hf_hub_download(repo_id, path, revision=revision, cache_dir=cache)).read_text()


def changed(number: int, text: str) -> str:
    return "".join([*LINES[:number], f"{text}\n", *LINES[number + 1 :]])


def test_a_commit_with_create_pr_leaves_the_branch_and_can_be_downloaded(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api = local_hub.api
    head = put_text(api, repo_id, "a.txt", "old")
    made = api.create_commit(
        repo_id,
        [add("a.txt", "new")],
        commit_message="Better words",
        commit_description="Why",
        create_pr=True,
    )
    assert (made.pr_num, made.pr_revision) == (1, "refs/pr/1")
    assert made.pr_url == f"{local_hub.url}/{repo_id}/discussions/1"
    assert api.model_info(repo_id).sha == head
    assert api.model_info(repo_id, revision="refs/pr/1").sha == made.oid
    assert text_at(api, repo_id, "a.txt", "refs/pr/1", tmp_path) == "new"
    snapshot = api.snapshot_download(repo_id, revision="refs/pr/1", local_dir=tmp_path / "all")
    assert Path(snapshot, "a.txt").read_text() == "new"
    details = api.get_discussion_details(repo_id, 1)
    assert (details.title, details.status, details.author) == ("Better words", "open", "local")
    assert (details.target_branch, details.conflicting_files) == ("refs/heads/main", [])
    first, second = details.events
    assert isinstance(first, DiscussionComment)
    assert first.content == "Why"
    assert isinstance(second, DiscussionCommit)
    assert (second.oid, second.summary) == (made.oid, "Better words")
    assert details.diff is not None
    assert details.diff.endswith(
        "@@ -1 +1 @@\n-old\n\\ No newline at end of file\n+new\n\\ No newline at end of file\n"
    )


def test_merging_makes_one_commit_with_all_changes_and_keeps_the_reference(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api = local_hub.api
    put_text(api, repo_id, "a.txt", "".join(LINES))
    first = put_text(api, repo_id, "a.txt", changed(2, "theirs"), create_pr=True)
    second = put_text(api, repo_id, "b/c.txt", "added", revision="refs/pr/1")
    head = put_text(api, repo_id, "a.txt", changed(17, "ours"))
    api.merge_pull_request(repo_id, 1, comment="Thank you")
    details = api.get_discussion_details(repo_id, 1)
    merged, before, *_ = api.list_repo_commits(repo_id, formatted=False)
    assert (details.status, details.merge_commit_oid, before.commit_id) == ("merged", merged.commit_id, head)
    assert merged.title == "Write a.txt (#1)"
    assert f"- Write a.txt ({first})\n- Write b/c.txt ({second})" in merged.message
    both = changed(2, "theirs").replace("line 17\n", "ours\n")
    assert text_at(api, repo_id, "a.txt", "main", tmp_path) == both
    assert text_at(api, repo_id, "b/c.txt", "main", tmp_path) == "added"
    assert api.model_info(repo_id, revision="refs/pr/1").sha == second
    kinds = [event.type for event in details.events]
    assert kinds == ["comment", "commit", "commit", "comment", "status-change"]
    assert git(local_hub.git_dir(repo_id), "fsck", "--strict") == ""
    with pytest.raises(HfHubHTTPError, match="only an open one can be merged"):
        api.merge_pull_request(repo_id, 1)
    with pytest.raises(HfHubHTTPError, match="was merged: open a new one"):
        put_text(api, repo_id, "d.txt", "late", revision="refs/pr/1")


def test_a_conflict_is_told_and_refused_and_loses_nothing(
    local_hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    api = local_hub.api
    put_text(api, repo_id, "ü.txt", "".join(LINES))
    put_text(api, repo_id, "w.bin", "base\0")
    put_text(api, repo_id, "gone.txt", "base")
    theirs = [add("ü.txt", changed(5, "theirs")), add("w.bin", "theirs\0"), add("gone.txt", "theirs")]
    api.create_commit(repo_id, theirs, commit_message="Theirs", create_pr=True)
    ours = [add("ü.txt", changed(5, "ours")), add("w.bin", "ours\0"), CommitOperationDelete("gone.txt")]
    head = api.create_commit(repo_id, ours, commit_message="Ours").oid
    objects = set(local_hub.git_dir(repo_id).glob("objects/*/*"))
    assert api.get_discussion_details(repo_id, 1).conflicting_files == ["gone.txt", "w.bin", "ü.txt"]
    assert set(local_hub.git_dir(repo_id).glob("objects/*/*")) == objects
    with pytest.raises(
        HfHubHTTPError, match=r"conflicts with 'main' in gone\.txt, w\.bin, ü\.txt:"
    ) as refusal:
        api.merge_pull_request(repo_id, 1)
    assert refusal.value.response.status_code == 409
    assert api.model_info(repo_id).sha == head
    assert api.get_discussion_details(repo_id, 1).status == "open"
    assert text_at(api, repo_id, "w.bin", "refs/pr/1", tmp_path) == "theirs\0"
    assert text_at(api, repo_id, "w.bin", "main", tmp_path) == "ours\0"


def test_a_deletion_survives_the_squashing_of_its_branch(local_hub: LocalHub, repo_id: str) -> None:
    api = local_hub.api
    put_text(api, repo_id, "a.txt", "a")
    put_text(api, repo_id, "b.txt", "b")
    api.create_commit(repo_id, [CommitOperationDelete("a.txt")], commit_message="Less", create_pr=True)
    api.super_squash_history(repo_id, commit_message="All in one")
    assert [commit.title for commit in api.list_repo_commits(repo_id)] == ["All in one"]
    api.merge_pull_request(repo_id, 1)
    assert api.list_repo_files(repo_id) == [".gitattributes", "b.txt"]


def test_changes_that_are_in_the_branch_already_merge_without_a_commit(
    local_hub: LocalHub, repo_id: str
) -> None:
    api = local_hub.api
    put_text(api, repo_id, "a.txt", "same", create_pr=True)
    head = put_text(api, repo_id, "a.txt", "same")
    api.merge_pull_request(repo_id, 1)
    assert api.get_discussion_details(repo_id, 1).merge_commit_oid == head == api.model_info(repo_id).sha


def test_a_merge_whose_card_would_be_bad_is_refused(local_hub: LocalHub, repo_id: str) -> None:
    api = local_hub.api
    between = "#\n" * 8
    put_text(api, repo_id, "README.md", f"---\ntags:\n- a\n{between}x: 1\n---\n")
    put_text(api, repo_id, "README.md", f"---\ntags: []\n{between}x: 1\n---\n", create_pr=True)
    head = put_text(api, repo_id, "README.md", f"---\ntags:\n- a\n{between}- b\n---\n")
    with pytest.raises(HfHubHTTPError, match=r"README\.md: the metadata is no valid YAML"):
        api.merge_pull_request(repo_id, 1)
    assert api.model_info(repo_id).sha == head


def test_a_draft_is_filled_published_and_merged(local_hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    api = local_hub.api
    (tmp_path / "a.txt").write_text("a")
    made = api.upload_folder(repo_id=repo_id, folder_path=tmp_path, create_pr=True, commit_message="A folder")
    assert made.pr_url == f"{local_hub.url}/{repo_id}/discussions/1"
    assert api.get_discussion_details(repo_id, 1).status == "draft"
    with pytest.raises(HfHubHTTPError, match="is a draft: publish it"):
        api.merge_pull_request(repo_id, 1)
    assert api.change_discussion_status(repo_id, 1, "open").new_status == "open"
    api.merge_pull_request(repo_id, 1)
    assert api.list_repo_files(repo_id) == [".gitattributes", "a.txt"]
    empty = api.create_pull_request(repo_id, " Nothing  yet ", description="Soon")
    assert (empty.num, empty.title, empty.status, empty.diff) == (2, "Nothing yet", "draft", "")
    api.change_discussion_status(repo_id, 2, "open")
    with pytest.raises(HfHubHTTPError, match="changes nothing: commit to refs/pr/2 first"):
        api.merge_pull_request(repo_id, 2)


def test_a_pull_request_is_against_the_branch_and_from_the_commit_that_were_named(
    local_hub: LocalHub, repo_id: str
) -> None:
    api = local_hub.api
    old = put_text(api, repo_id, "a.txt", "a")
    api.create_branch(repo_id, branch="dev/x")
    put_text(api, repo_id, "b.txt", "b", revision="dev/x")
    put_text(api, repo_id, "c.txt", "c", revision="dev/x", create_pr=True, parent_commit=old[:7])
    assert api.list_repo_files(repo_id, revision="refs/pr/1") == [".gitattributes", "a.txt", "c.txt"]
    assert api.get_discussion_details(repo_id, 1).target_branch == "refs/heads/dev/x"
    api.merge_pull_request(repo_id, 1)
    assert api.list_repo_files(repo_id, revision="dev/x") == [".gitattributes", "a.txt", "b.txt", "c.txt"]
    assert api.model_info(repo_id).sha == old
    for revision in (old, "nothing", "refs/pr/1"):
        with pytest.raises(RevisionNotFoundError):
            put_text(api, repo_id, "d.txt", "d", revision=revision, create_pr=True)
    with pytest.raises(HfHubHTTPError, match="has no commit 1234567"):
        put_text(api, repo_id, "d.txt", "d", create_pr=True, parent_commit="1234567")


def test_references_of_pull_requests_are_listed_on_request_only(local_hub: LocalHub, repo_id: str) -> None:
    api = local_hub.api
    oid = put_text(api, repo_id, "a.txt", "a", create_pr=True)
    assert api.list_repo_refs(repo_id).pull_requests is None
    listed = api.list_repo_refs(repo_id, include_pull_requests=True)
    assert [branch.name for branch in listed.branches] == ["main"]
    assert listed.pull_requests is not None
    assert [(ref.ref, ref.target_commit) for ref in listed.pull_requests] == [("refs/pr/1", oid)]


def test_a_kill_leaves_no_pull_request_or_a_whole_one_and_no_merge_or_a_whole_one(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    parents, merged = {}, {}
    with running_hub(root) as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        for repo_id in ("org/opening", "org/before", "org/after"):
            api.create_repo(repo_id)
            parents[repo_id] = str(api.model_info(repo_id).sha)
            put_text(api, repo_id, "a.txt", "a", create_pr=True)
            if repo_id != "org/opening":
                api.merge_pull_request(repo_id, 1)
            merged[repo_id] = str(api.model_info(repo_id).sha)
    # As if the record, which is written last, had not got to the disk.
    (root / "models/org/opening.git/discussions/1.json").rename(root / "models/org/opening.git/1.json")
    for repo_id in ("org/before", "org/after"):
        as_if_killed_in_a_merge(root / "models" / f"{repo_id}.git", parents[repo_id])
    # Of one of them, the branch had not moved yet.
    git(root / "models/org/before.git", "update-ref", "refs/heads/main", parents["org/before"])

    with running_hub(root) as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        assert list(api.get_repo_discussions("org/opening")) == []
        assert api.list_repo_refs("org/opening", include_pull_requests=True).pull_requests == []
        with pytest.raises(RevisionNotFoundError):
            api.model_info("org/opening", revision="refs/pr/1")
        again = put_text(api, "org/opening", "b.txt", "b", create_pr=True)
        assert api.get_discussion_details("org/opening", 1).events[1].id == again[:24]

        before = api.get_discussion_details("org/before", 1)
        assert (before.status, before.merge_commit_oid) == ("open", None)
        api.merge_pull_request("org/before", 1)
        assert api.list_repo_files("org/before") == [".gitattributes", "a.txt"]

        after = api.get_discussion_details("org/after", 1)
        assert (after.status, after.merge_commit_oid) == ("merged", merged["org/after"])
        assert [each.status for each in api.get_repo_discussions("org/after")] == ["merged"]
        assert isinstance(after.events[-1], DiscussionStatusChange)
        api.comment_discussion("org/after", 1, "Good")
        assert api.get_discussion_details("org/after", 1).events[:-1] == after.events


def as_if_killed_in_a_merge(folder: Path, parent: str) -> None:
    """Let the record of a merged pull request say only what was about to happen."""
    record = folder / "discussions" / "1.json"
    data = json.loads(record.read_text())
    data["status"] = "open"
    tree = git(folder, "rev-parse", "main^{tree}").strip()
    meant = {"parent": parent, "tree": tree, "events": [data["events"].pop()]}
    data["pull_request"] |= {"merging": meant, "merge_commit": None}
    record.write_text(json.dumps(data))


def test_a_pull_request_with_a_bad_file_opens_nothing(local_hub: LocalHub, repo_id: str) -> None:
    path = f"/api/models/{repo_id}/commit/main?create_pr=1"
    header = {"key": "header", "value": {"summary": "x"}}
    body = "\n".join(json.dumps(line) for line in [header, file_line("../a", b"x")])
    assert send(local_hub, "POST", path, content=body).status_code == 400
    assert send(local_hub, "POST", path, content=json.dumps(header)).status_code == 400
    assert commit(local_hub, repo_id, file_line("a", b"x"), branch="refs%2Fpr%2F1").status_code == 404
    assert list(local_hub.api.get_repo_discussions(repo_id)) == []
