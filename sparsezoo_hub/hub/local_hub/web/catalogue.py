"""The catalogue: all models that may be seen, searched, filtered and sorted."""

import math
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sparsezoo_hub.hub.local_hub.api.request_parts import number_of
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.web.rendering import html_page, page
from sparsezoo_hub.hub.local_hub.web.summaries import Summary, visible_models

PER_PAGE = 25
MOST_PAGES = 1 << 20

# How each order is called, and whether its highest comes first. A model of which that is unknown comes last.
SORTS = {
    "modified": ("last changed", True),
    "created": ("newest", True),
    "name": ("name", False),
    "sparsity": ("highest sparsity", True),
    "size": ("smallest weights", False),
}
QUANTIZED = {"": "any", "1": "with int8", "0": "without int8"}


@dataclass(frozen=True, slots=True)
class CatalogueQuery:
    """Which models to show.

    Args:
        words: all of them must occur in its id or in the package's name, whatever their case.
        author: owner of the repository, "" for any.
        tags: all of them must be among a model's tags.
        architecture: transformers' name of it, "" for any.
        tasks: all of them must be the Hub's name of its task, or a data set it was measured on.
        lowest: the least sparsity, None for any.
        highest: the largest sparsity, None for any.
        quantized: a key of `QUANTIZED`.
        sort: a key of `SORTS`.
    """

    words: tuple[str, ...]
    author: str
    tags: tuple[str, ...]
    architecture: str
    tasks: tuple[str, ...]
    lowest: float | None
    highest: float | None
    quantized: str
    sort: str

    def fits(self, model: Summary) -> bool:
        """Whether it is to be shown."""
        text = f"{model.repo_id} {model.title or ''}".lower()
        return (
            all(word in text for word in self.words)
            and self.author.lower() in ("", model.repo_id.split("/", maxsplit=1)[0].lower())
            and set(self.tags) <= model.tags
            and self.architecture in ("", model.architecture)
            and set(self.tasks) <= model.tasks
            and (self.lowest is None or (model.sparsity is not None and model.sparsity >= self.lowest))
            and (self.highest is None or (model.sparsity is not None and model.sparsity <= self.highest))
            and self.quantized in ("", "1" if model.is_quantized else "0")
        )


@page
def catalogue(request: Request) -> Response:
    """Show a page of the models that the query selects."""
    query, number = _query_of(request), number_of(request, "p", 0, MOST_PAGES)
    visible = visible_models(request)
    found = _sorted([model for model in visible if query.fits(model[0])], query.sort)
    summaries = [summary for summary, _ in visible]
    return html_page(
        request,
        "catalogue.html",
        query=query,
        parameters=request.query_params,
        models=found[number * PER_PAGE : (number + 1) * PER_PAGE],
        num_found=len(found),
        num_visible=len(visible),
        num_pages=max(1, math.ceil(len(found) / PER_PAGE)),
        number=number,
        architectures=sorted({model.architecture for model in summaries if model.architecture}),
        tasks=sorted({model.task for model in summaries if model.task}),
        datasets=sorted({result.dataset for model in summaries for result in model.results}),
        sorts=SORTS,
        quantized=QUANTIZED,
    )


def _query_of(request: Request) -> CatalogueQuery:
    given = request.query_params
    return CatalogueQuery(
        words=tuple(given.get("search", "").lower().split()),
        author=given.get("author", ""),
        tags=tuple(tag for tag in given.getlist("other") if tag),
        architecture=given.get("architecture", ""),
        tasks=tuple(task for name in ("task", "pipeline_tag") for task in given.getlist(name) if task),
        lowest=_fraction_of(request, "min_sparsity"),
        highest=_fraction_of(request, "max_sparsity"),
        quantized=_choice_of(request, "quantized", tuple(QUANTIZED), ""),
        sort=_choice_of(request, "sort", tuple(SORTS), "modified"),
    )


def _fraction_of(request: Request, name: str) -> float | None:
    text = request.query_params.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise RefusalError(400, f"{name}={text!r}: must be a fraction from 0 to 1, such as 0.9")
    return value


def _choice_of(request: Request, name: str, choices: tuple[str, ...], default: str) -> str:
    given = request.query_params.get(name, default)
    if given not in choices:
        raise RefusalError(400, f"{name}={given!r}: must be one of {', '.join(filter(None, choices))}")
    return given


def _sorted(models: list[tuple[Summary, bool]], sort: str) -> list[tuple[Summary, bool]]:
    by_name = sorted(models, key=lambda model: model[0].repo_id.lower())
    known = [model for model in by_name if _place(model[0], sort) is not None]
    known.sort(key=lambda model: _place(model[0], sort), reverse=SORTS[sort][1])
    return known + [model for model in by_name if _place(model[0], sort) is None]


def _place(model: Summary, sort: str) -> Any:
    places: dict[str, Any] = {
        "modified": model.modified,
        "created": model.created,
        "name": model.repo_id.lower(),
        "sparsity": model.sparsity,
        "size": model.weights_size,
    }
    return places[sort]
