"""Discussions and pull requests, to be read; they are written with the client."""

from starlette.requests import Request
from starlette.responses import Response

from sparsezoo_hub.hub.local_hub.api.access import read_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import number_of
from sparsezoo_hub.hub.local_hub.discussion_store import list_discussions
from sparsezoo_hub.hub.local_hub.discussions import describe_discussion
from sparsezoo_hub.hub.local_hub.pull_requests import describe_details, load_discussion, settle
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH
from sparsezoo_hub.hub.local_hub.web.card_html import render_markdown
from sparsezoo_hub.hub.local_hub.web.rendering import page, repo_page
from sparsezoo_hub.hub.local_hub.web.texts import text_lines

PER_PAGE = 50


@page
def discussions_page(request: Request) -> Response:
    """List all discussions and pull requests, the newest first."""
    hub, repo_id = read_repo(request)
    number = number_of(request, "p", 0, 1 << 20)
    with hub.repositories.opened(repo_id) as repo:
        found = [describe_discussion(settle(repo, each), repo_id) for each in list_discussions(repo)]
    return repo_page(
        request,
        "discussions.html",
        hub,
        repo_id,
        DEFAULT_BRANCH,
        discussions=found[number * PER_PAGE : (number + 1) * PER_PAGE],
        number=number,
        more=(number + 1) * PER_PAGE < len(found),
    )


@page
def discussion_page(request: Request) -> Response:
    """Show a discussion with all that has happened, and what a pull request would change."""
    hub, repo_id = read_repo(request)
    with hub.repositories.opened(repo_id) as repo:
        discussion = load_discussion(repo, repo_id, request.path_params["num"])
        details = describe_details(repo, repo_id, discussion, diff=True)
    texts = {
        event["id"]: render_markdown(event["data"]["latest"]["raw"], repo_id, DEFAULT_BRANCH)
        for event in details["events"]
        if event["type"] == "comment"
    }
    diff, num_diff_lines = text_lines(details.get("diff", ""))
    return repo_page(
        request,
        "discussion.html",
        hub,
        repo_id,
        DEFAULT_BRANCH,
        discussion=details,
        texts=texts,
        diff=diff,
        num_diff_lines=num_diff_lines,
    )
