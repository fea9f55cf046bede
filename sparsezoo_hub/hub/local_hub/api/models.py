"""Looking at models and searching them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.access import account_of, read_repo
from sparsezoo_hub.hub.local_hub.api.request_parts import hub_of, is_set, number_of, segment_of
from sparsezoo_hub.hub.local_hub.models import SORT_KEYS, ModelQuery, describe_model
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, repository_not_found
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH
from sparsezoo_hub.hub.local_hub.revisions import find_commit

MOST_MODELS = 1000
_SELECTING = frozenset({"filter", "author", "search", "pipeline_tag", "sort", "direction", "limit", "cursor"})
_EXPANDING = frozenset({"full", "config", "cardData", "expand"})


def list_models(request: Request) -> JSONResponse:
    """List the models that a search selects, a page at a time."""
    parameters = request.query_params
    # Not knowing a filter and answering anyway would show models that the user has ruled out.
    for name in parameters:
        if name not in _SELECTING | _EXPANDING:
            known = ", ".join(sorted(_SELECTING - {"cursor", "direction"}))
            raise RefusalError(400, f"{name}={parameters[name]!r}: this Hub selects by {known} only")
    sort = parameters.get("sort", SORT_KEYS[0])
    if sort not in SORT_KEYS:
        raise RefusalError(400, f"sort={sort!r}: this Hub does not keep that; use {' or '.join(SORT_KEYS)}")
    tags = [*parameters.getlist("filter"), *parameters.getlist("pipeline_tag")]
    query = ModelQuery(
        tags=tuple(tag for value in tags for tag in value.split(",") if tag),
        author=parameters.get("author"),
        words=tuple(parameters.get("search", "").lower().split()),
        sort=sort,
        limit=max(1, number_of(request, "limit", MOST_MODELS, MOST_MODELS)),
        cursor=parameters.get("cursor"),
    )
    page, cursor = hub_of(request).models.find(query, account_of(request))
    hidden = set() if _EXPANDING & set(parameters) else {"cardData", "siblings"}
    models = [{key: value for key, value in model.items() if key not in hidden} for model in page]
    headers = {}
    if cursor is not None:
        headers["Link"] = f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'
    return JSONResponse(models, headers=headers)


def model_info(request: Request) -> JSONResponse:
    """Tell everything about a model, at a revision or at its default branch."""
    hub, repo_id = read_repo(request)
    revision = DEFAULT_BRANCH
    if "revision" in request.path_params:
        revision = segment_of(request, "revision")
    private = hub.repositories.is_private(repo_id)
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, revision)
        blobs = is_set(request, "blobs")
        described: dict[str, Any] = describe_model(repo, repo_id, commit, private=private, sizes=blobs)
    return JSONResponse(described)


def unowned_model(request: Request) -> JSONResponse:
    """Refuse a repository id without an owner, as one that is not here."""
    raise repository_not_found(segment_of(request, "name"))


ROUTES = [
    Route("/api/models", list_models),
    Route("/api/models/{name}", unowned_model),
    Route("/api/models/{owner}/{name}", model_info),
    Route("/api/models/{owner}/{name}/revision/{revision}", model_info),
]
