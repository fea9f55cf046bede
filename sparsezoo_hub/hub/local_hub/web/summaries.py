"""A model in a line of the catalogue; what was read of a commit once is kept."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from starlette.requests import Request

from sparsezoo_hub.hub.local_hub.api.access import account_of
from sparsezoo_hub.hub.local_hub.api.request_parts import hub_of
from sparsezoo_hub.hub.local_hub.hub_state import HubState
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.repositories import DEFAULT_BRANCH, created_at
from sparsezoo_hub.hub.local_hub.revisions import find_commit
from sparsezoo_hub.hub.local_hub.web.facts import ModelFacts, read_facts
from sparsezoo_hub.hub.local_hub.web.wording import text_line

# About 2 kB each.
MOST_KEPT = 20_000
MOST_RESULTS = 20
MOST_TAGS = 100


@dataclass(frozen=True, slots=True)
class Result:
    """A metric's mean on a part of a data set, of the model itself."""

    task: str
    dataset: str
    metric: str
    split: str
    mean: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What the catalogue shows of a model, and what it is found and sorted by.

    Args:
        repo_id: `owner/name`.
        sha: the commit that it was read from.
        title: the package's own name, None if it is no package.
        modified: when the commit was made, in ISO 8601.
        created: when the repository was, in ISO 8601.
        tags: what it can be found by.
        architecture: transformers' name of it, None if unknown.
        task: the Hub's name of its task, None if unknown.
        results: what was measured with it, of a package.
        sparsity: fraction of zeros in the pruned weights, 0.0 for a dense package, None if unknown.
        is_quantized: whether it comes in int8.
        weights_size: bytes of the weights file, None if there is none.
        gzip_size: bytes of it compressed, if that was measured.
        total_size: bytes of all files.
        successor: what its card names as its new version.
        problem: why it is no package although it has a manifest.
    """

    repo_id: str
    sha: str
    title: str | None
    modified: str
    created: str
    tags: frozenset[str]
    architecture: str | None
    task: str | None
    results: tuple[Result, ...]
    sparsity: float | None
    is_quantized: bool
    weights_size: int | None
    gzip_size: int | None
    total_size: int
    successor: str | None
    problem: str | None

    @property
    def tasks(self) -> set[str]:
        """Every name that a search for a task may use: the Hub's, and those of the data sets."""
        return {*([self.task] if self.task else []), *(result.dataset for result in self.results)}


_known: OrderedDict[tuple[str, str], Summary] = OrderedDict()
_lock = threading.Lock()


def visible_models(request: Request) -> list[tuple[Summary, bool]]:
    """Return every model that whoever asks may see, and whether it is private."""
    hub, account = hub_of(request), account_of(request)
    found = []
    for repo_id in hub.repositories.ids():
        try:
            private = hub.repositories.is_private(repo_id)
            if account.may_read(repo_id, private=private):
                found.append((_summary_of(hub, repo_id), private))
        except RefusalError:
            # Deleted between the listing and now.
            continue
    return found


def summarise(facts: ModelFacts) -> Summary:
    """Return the line about a model."""
    manifest = facts.manifest
    gzip_size: int | None = None
    results: tuple[Result, ...] = ()
    if manifest is not None:
        gzip_size = None if manifest.measurements.sizes is None else manifest.measurements.sizes.gzip
        results = tuple(
            Result(
                text_line(each.task), text_line(each.dataset), text_line(each.metric), each.split, each.mean
            )
            for each in manifest.measurements.results
            if each.label is None
        )[:MOST_RESULTS]
    return Summary(
        repo_id=facts.repo_id,
        sha=facts.sha,
        title=None if manifest is None else text_line(manifest.name),
        modified=facts.modified,
        created=facts.created,
        tags=frozenset(facts.tags[:MOST_TAGS]),
        architecture=facts.model_type,
        task=None if facts.pipeline_tag is None else text_line(facts.pipeline_tag),
        results=results,
        sparsity=None if manifest is None else manifest.sparsity.overall,
        is_quantized=facts.is_quantized,
        weights_size=facts.weights_size,
        gzip_size=gzip_size,
        total_size=facts.total_size,
        successor=facts.successor,
        problem=facts.problem,
    )


def _summary_of(hub: HubState, repo_id: str) -> Summary:
    with hub.repositories.opened(repo_id) as repo:
        commit = find_commit(repo, repo_id, DEFAULT_BRANCH)
        key = repo_id, commit.id.decode()
        with _lock:
            known = _known.get(key)
        if known is None or known.created != created_at(repo):
            known = summarise(read_facts(repo, repo_id, commit, hub.large_files))
    with _lock:
        _known[key] = known
        _known.move_to_end(key)
        while len(_known) > MOST_KEPT:
            _known.popitem(last=False)
    return known
