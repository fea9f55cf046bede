"""Models side by side: what they are, what they weigh, what was measured, and a picture of it."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from sparsezoo_hub.hub.local_hub.api.access import find_repo
from sparsezoo_hub.hub.local_hub.names import check_repo_id
from sparsezoo_hub.hub.local_hub.refusals import RefusalError, repository_not_found
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH
from sparsezoo_hub.hub.local_hub.revisions import find_commit
from sparsezoo_hub.hub.local_hub.web.comparison_tables import (
    ResultKey,
    comparison_tables,
    results_of,
    sparsity_words,
)
from sparsezoo_hub.hub.local_hub.web.facts import ModelFacts, read_facts
from sparsezoo_hub.hub.local_hub.web.rendering import html_page, page
from sparsezoo_hub.hub.local_hub.web.scatter import Point, Scatter, draw_scatter
from sparsezoo_hub.hub.local_hub.web.wording import LARGEST
from sparsezoo_hub.packaging.manifest import TaskResult

LETTERS = "ABCDEFGH"
MOST_MODELS = len(LETTERS)
MOST_PICTURES = 6
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))


@dataclass(frozen=True, slots=True)
class Picture:
    """The models' results on one data set against their size."""

    title: str
    metric: str
    unit: str
    scatter: Scatter


@page
def comparison_page(request: Request) -> Response:
    """Show the models that the address names (`models=a/b&models=c/d@revision`) side by side."""
    given = (name.strip() for name in request.query_params.getlist("models"))
    names = list(dict.fromkeys(name for name in given if name))
    if len(names) > MOST_MODELS:
        raise RefusalError(
            400, f"models: at most {MOST_MODELS} can be compared at once, got {len(names)}: choose fewer"
        )
    models = [_read(request, name) for name in names]
    results = results_of(models)
    return html_page(
        request,
        "comparison.html",
        names=names,
        columns=[
            (letter, model, name.partition("@")[2])
            for letter, model, name in zip(LETTERS, models, names, strict=False)
        ],
        letters=LETTERS,
        tables=comparison_tables(models, results),
        pictures=_pictures(models, results),
        has_common_task=any(sum(each is not None for each in row) > 1 for row in results.values()),
    )


def _read(request: Request, name: str) -> ModelFacts:
    repo_id, _, revision = name.partition("@")
    owner, _, model = repo_id.partition("/")
    try:
        check_repo_id(owner, model)
    except RefusalError:
        raise repository_not_found(repo_id) from None
    hub = find_repo(request, repo_id)
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, revision or DEFAULT_BRANCH)
        return read_facts(repo, repo_id, commit, hub.large_files)


def _pictures(models: list[ModelFacts], results: "dict[ResultKey, list[TaskResult | None]]") -> list[Picture]:
    pictures: list[Picture] = []
    for (dataset, metric, split), row in results.items():
        sized = [
            (letter, model, result, size)
            for letter, model, result in zip(LETTERS, models, row, strict=False)
            if result is not None and (size := _gzip_size(model)) is not None
        ]
        largest = max((size for *_, size in sized), default=0)
        unit, factor = next((each for each in _UNITS if largest >= each[1]), _UNITS[-1])
        scatter = draw_scatter(
            [
                Point(size / factor, result.mean, result.std, f"{letter}  {sparsity_words(model)}")
                for letter, model, result, size in sized
            ]
        )
        if len(sized) > 1 and scatter is not None and len(pictures) < MOST_PICTURES:
            title = dataset if split == "validation" else f"{dataset}, {split}"
            pictures.append(Picture(title, metric, unit, scatter))
    return pictures


def _gzip_size(model: ModelFacts) -> int | None:
    sizes = None if model.manifest is None else model.manifest.measurements.sizes
    return None if sizes is None or sizes.gzip > LARGEST else sizes.gzip
