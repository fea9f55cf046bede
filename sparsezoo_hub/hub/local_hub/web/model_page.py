"""A model's page: card, pattern, lineage, results, files, and how to load it."""

from starlette.requests import Request
from starlette.responses import Response

from sparsezoo_hub.hub.local_hub.api.access import may_see, read_repo
from sparsezoo_hub.hub.local_hub.card_metadata import CARD_FILE
from sparsezoo_hub.hub.local_hub.names import check_repo_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH
from sparsezoo_hub.hub.local_hub.revisions import find_commit, list_references
from sparsezoo_hub.hub.local_hub.web.card_html import LONGEST_CARD, render_card
from sparsezoo_hub.hub.local_hub.web.facts import read_facts, read_small
from sparsezoo_hub.hub.local_hub.web.heat_map import heat_map
from sparsezoo_hub.hub.local_hub.web.rendering import page, repo_page

LARGEST_CARD_FILE = 8 << 20
MOST_FILES = 40


@page
def model_page(request: Request) -> Response:
    """Show a model as it is on its default branch."""
    hub, repo_id = read_repo(request)
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, DEFAULT_BRANCH)
        facts = read_facts(repo, repo_id, commit, hub.large_files)
        content = read_small(repo, commit, CARD_FILE, LARGEST_CARD_FILE, hub.large_files)
        tags = [tag["name"] for tag in list_references(repo)["tags"]]
    card = None if content is None else content.decode("utf-8", "replace")
    manifest = facts.manifest
    return repo_page(
        request,
        "model.html",
        hub,
        repo_id,
        DEFAULT_BRANCH,
        facts=facts,
        manifest=manifest,
        picture=None if manifest is None else heat_map(manifest.sparsity.per_component),
        card=render_card(card, repo_id, DEFAULT_BRANCH) if card and len(card) <= LONGEST_CARD else None,
        card_is_long=card is not None and len(card) > LONGEST_CARD,
        known_models={
            name
            for name in (facts.successor, manifest.parents.base_model if manifest else None)
            if name and _is_visible(request, name)
        },
        files=facts.files[:MOST_FILES],
        versions=tags,
        endpoint=str(request.base_url).rstrip("/"),
    )


def _is_visible(request: Request, repo_id: str) -> bool:
    owner, _, name = repo_id.partition("/")
    try:
        return may_see(request, check_repo_id(owner, name))
    except RefusalError:
        return False
