import json
import warnings
from collections.abc import Callable

import pytest
from huggingface_hub import DiscussionComment, HfApi
from huggingface_hub.community import DiscussionTitleChange
from huggingface_hub.errors import HfHubHTTPError
from local_hub_case import LocalHub, put_text, send

from sparsezoo_hub.hub.local_hub.tokens import Tokens


def test_everybody_proposes_and_only_the_owner_decides(local_hub: LocalHub, repo_id: str) -> None:
    owner = local_hub.api
    bob, reader = (
        HfApi(endpoint=local_hub.url, token=Tokens(local_hub.root).create(name, scope))
        for name, scope in (("bob", "write"), ("reader", "read"))
    )
    head = put_text(owner, repo_id, "a.txt", "a")
    owner.create_discussion(repo_id, "The owner's", description="First")
    put_text(owner, repo_id, "b.txt", "b", create_pr=True)
    put_text(bob, repo_id, "c.bin", "c\0", create_pr=True)
    put_text(bob, repo_id, "d.txt", "d", revision="refs/pr/3")
    bob.comment_discussion(repo_id, 1, "Hello")
    bob.rename_discussion(repo_id, 3, "Bob's")
    bob.change_discussion_status(repo_id, 3, "closed")
    bob.change_discussion_status(repo_id, 3, "open")
    words = {each.author: each.id for each in owner.get_discussion_details(repo_id, 1).events}
    before = [owner.get_discussion_details(repo_id, num) for num in (1, 2, 3)]
    refused: list[Callable[[HfApi], object]] = [
        lambda api: put_text(api, repo_id, "e.txt", "e"),
        lambda api: put_text(api, repo_id, "e.txt", "e", revision="refs/pr/2"),
        lambda api: api.merge_pull_request(repo_id, 2),
        lambda api: api.merge_pull_request(repo_id, 3),
        lambda api: api.rename_discussion(repo_id, 1, "x"),
        lambda api: api.change_discussion_status(repo_id, 2, "closed"),
        lambda api: api.edit_discussion_comment(repo_id, 1, words["local"], "x"),
        lambda api: hide(api, repo_id, words["local"]),
        lambda api: api.super_squash_history(repo_id),
    ]
    for attempt in refused:
        with pytest.raises(HfHubHTTPError) as refusal:
            attempt(bob)
        assert refusal.value.response.status_code == 403
    refused += [
        lambda api: api.comment_discussion(repo_id, 1, "x"),
        lambda api: api.create_discussion(repo_id, "x"),
        lambda api: put_text(api, repo_id, "e.txt", "e", create_pr=True),
        lambda api: put_text(api, repo_id, "e.txt", "e", revision="refs/pr/3"),
    ]
    for api, status in ((reader, 403), (HfApi(endpoint=local_hub.url, token=False), 401)):
        for attempt in refused:
            with pytest.raises(HfHubHTTPError) as refusal:
                attempt(api)
            assert refusal.value.response.status_code == status
        assert [api.get_discussion_details(repo_id, num) for num in (1, 2, 3)] == before
    with pytest.raises(HfHubHTTPError, match="is 'bob''s: nobody else can edit it"):
        owner.edit_discussion_comment(repo_id, 1, words["bob"], "x")
    assert owner.model_info(repo_id).sha == head
    hide(owner, repo_id, words["bob"])
    owner.merge_pull_request(repo_id, 3)
    (merged, *_) = owner.list_repo_commits(repo_id)
    assert (merged.authors, "Co-authored-by: bob <bob@localhost>" in merged.message) == (["local"], True)
    assert [event.author for event in owner.get_discussion_details(repo_id, 3).events[-2:]] == [
        "bob",
        "local",
    ]


def hide(api: HfApi, repo_id: str, comment_id: str) -> DiscussionComment:
    # The client warns that this is for good.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return api.hide_discussion_comment(repo_id, 1, comment_id)


def test_what_is_said_about_a_private_repository_is_as_private(local_hub: LocalHub) -> None:
    owner = HfApi(endpoint=local_hub.url, token=Tokens(local_hub.root).create("alice", "write"))
    bob = Tokens(local_hub.root).create("bob", "write")
    owner.create_repo("alice/hidden", private=True)
    put_text(owner, "alice/hidden", "a.txt", "a", create_pr=True)
    assert [each.num for each in owner.get_repo_discussions("alice/hidden")] == [1]
    for method, path in [
        ("GET", "discussions"),
        ("GET", "discussions/1?diff=1"),
        ("POST", "discussions"),
        ("POST", "discussions/1/comment"),
        ("POST", "discussions/1/merge"),
        ("POST", "commit/refs%2Fpr%2F1"),
        ("POST", "commit/main?create_pr=1"),
        ("GET", "revision/refs%2Fpr%2F1"),
        ("GET", "refs?include_prs=1"),
        ("GET", "auth-check"),
        ("POST", "duplicate"),
    ]:
        hidden, absent = (
            local_hub.client.request(
                method,
                f"/api/models/alice/{name}/{path}",
                headers={"Authorization": f"Bearer {bob}"},
                content=b"{}" if method == "POST" else b"",
            )
            for name in ("hidden", "absent")
        )
        assert (hidden.status_code, hidden.headers["X-Error-Code"]) == (404, "RepoNotFound"), path
        assert hidden.text == absent.text.replace("absent", "hidden")


def test_discussions_are_listed_the_newest_first_by_kind_status_and_author(
    local_hub: LocalHub, repo_id: str
) -> None:
    api = local_hub.api
    for number in range(1, 54):
        send(
            local_hub,
            "POST",
            f"/api/models/{repo_id}/discussions",
            json={"title": f"T{number}", "description": "d", "pullRequest": number in {7, 8}},
        )
    api.change_discussion_status(repo_id, 3, "closed", comment="Done")
    api.change_discussion_status(repo_id, 8, "closed")

    def numbers(**filters: str) -> list[int]:
        return [each.num for each in api.get_repo_discussions(repo_id, **filters)]  # type: ignore[arg-type]

    assert numbers() == list(range(53, 0, -1))
    assert numbers(discussion_status="closed") == [8, 3]
    assert numbers(discussion_status="open", discussion_type="pull_request") == [7]
    assert numbers(discussion_type="pull_request", discussion_status="all") == [8, 7]
    assert len(numbers(discussion_type="discussion")) == 51
    assert numbers(author="nobody") == []
    assert len(numbers(author="local")) == 53
    third = api.get_discussion_details(repo_id, 3)
    assert [event.type for event in third.events] == ["comment", "status-change", "comment"]


def test_what_is_said_is_edited_renamed_and_hidden(local_hub: LocalHub, repo_id: str) -> None:
    api = local_hub.api
    opened = api.create_discussion(repo_id, "Title", description="First <b>words</b>")
    first = opened.events[0]
    assert isinstance(first, DiscussionComment)
    assert first.rendered == "<p>First &lt;b&gt;words&lt;/b&gt;</p>"
    said = api.comment_discussion(repo_id, 1, "**Said** 🤗\nmore")
    renamed = api.rename_discussion(repo_id, 1, "Other")
    edited = api.edit_discussion_comment(repo_id, 1, first.id, "Better words")
    hidden = hide(api, repo_id, said.id)
    details = api.get_discussion_details(repo_id, 1)
    assert details.title == "Other"
    assert details.events == [edited, hidden, renamed]
    assert isinstance(renamed, DiscussionTitleChange)
    assert (renamed.old_title, renamed.new_title) == ("Title", "Other")
    assert (edited.content, edited.edited, edited.number_of_edits) == ("Better words", True, 1)
    assert edited.edit_history[0]["raw"] == "First <b>words</b>"
    assert (hidden.hidden, hidden.content) == (True, "This comment has been hidden")
    assert "Said" not in json.dumps([event._event for event in details.events])
    with pytest.raises(HfHubHTTPError, match="was hidden, and its text with it"):
        api.edit_discussion_comment(repo_id, 1, said.id, "again")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", {"title": "", "description": "d"}, 400),
        ("", {"title": 5, "description": "d"}, 400),
        ("", {"title": "x" * 301, "description": "d"}, 400),
        ("", {"title": "t"}, 400),
        ("", {"title": "\ud800", "description": "d"}, 400),
        ("", [], 400),
        ("/1/comment", {"comment": " "}, 400),
        ("/1/comment", {"comment": "x" * 65_537}, 400),
        ("/1/title", {"title": "\n"}, 400),
        ("/1/status", {"status": "merged"}, 400),
        ("/1/status", {"status": ["open"]}, 400),
        ("/1/merge", {"comment": "x"}, 400),
        ("/1/comment/nothing/edit", {"content": "x"}, 404),
        ("/1/comment/..%2F..%2Fx/hide", {}, 404),
        ("/2/comment", {"comment": "x"}, 404),
        ("/0/comment", {"comment": "x"}, 404),
        ("/-1/comment", {"comment": "x"}, 404),
        ("/1.0/comment", {"comment": "x"}, 404),
        ("/..%2F..%2Fconfig/comment", {"comment": "x"}, 404),
        (f"/{'9' * 5000}/comment", {"comment": "x"}, 404),
    ],
)
def test_a_malformed_request_about_a_discussion_is_refused_in_a_sentence(
    local_hub: LocalHub, talk: str, path: str, body: object, status: int
) -> None:
    before = local_hub.client.get(f"/api/models/{talk}/discussions/1").json()
    answer = send(local_hub, "POST", f"/api/models/{talk}/discussions{path}", content=json.dumps(body))
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)
    assert local_hub.client.get(f"/api/models/{talk}/discussions/1").json() == before


@pytest.fixture(scope="module")
def talk(local_hub: LocalHub, new_repo: Callable[[], str]) -> str:
    repo_id = new_repo()
    local_hub.api.create_discussion(repo_id, "Title")
    return repo_id


@pytest.mark.parametrize("query", ["?type=x", "?status=merged", "?p=-1", "?p=x"])
def test_a_filter_that_is_not_known_is_refused(local_hub: LocalHub, talk: str, query: str) -> None:
    assert send(local_hub, "GET", f"/api/models/{talk}/discussions{query}").status_code == 400
