"""Search: the packages on a Hub that are what is wanted.

The Hub's own filters come first, by the tags of our cards; then the manifest of each hit decides. Without a
network (HF_HUB_OFFLINE) the packages in the client's cache are searched.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from huggingface_hub import HfApi, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import DisabledRepoError, GatedRepoError, RepositoryNotFoundError

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.cached_packages import cached_packages
from sparsezoo_hub.hub.model_facts import NEEDED, ModelFacts, hub_facts
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.packaging.card_metadata import TAGS
from sparsezoo_hub.packaging.layout import CARD, MANIFEST

NO_MANIFEST = "without manifest.json"
BAD_MANIFEST = "with a manifest.json or config.json that cannot be used"
CLOSED = "gated or disabled"
GONE = "gone meanwhile"

_AT_ONCE = 8
_DECIMALS = 3  # a count of zeros meets its target to within one entry
# Whoever searches has not chosen these repositories: nothing large is fetched from them.
_LARGEST = 8 * 2**20


@dataclass(frozen=True)
class Wanted:
    """What to look for; what is None or empty does not matter.

    Args:
        words: all of them occur in the repository's id.
        author: owner of the repository.
        family: of recipes, one of ``core.recipe_families.FAMILIES``.
        architecture: transformers' name of it (``roberta``).
        lowest: sparsity over the pruned weights, rounded to three decimals, is at least this.
        highest: and at most this; a dense model has 0.
        task: a result on this data set (``sst2``), or on this kind of task (``text-classification``).
        quantized: comes in int8 as well.
        largest: bytes of the weights file at most.
        parent: the model that it was made from, as a Hub id.
    """

    words: tuple[str, ...] = ()
    author: str | None = None
    family: str | None = None
    architecture: str | None = None
    lowest: float | None = None
    highest: float | None = None
    task: str | None = None
    quantized: bool = False
    largest: int | None = None
    parent: str | None = None

    @property
    def tags(self) -> list[str]:
        """What the Hub itself can tell apart."""
        tags = [*TAGS]
        if self.architecture is not None:
            tags.append(self.architecture)
        if self.parent is not None:
            tags.append(f"base_model:{self.parent}")
        return tags

    def admits(self, facts: ModelFacts) -> bool:
        """Return whether a model is what is wanted, by its manifest and its config."""
        sparsity = round(facts.manifest.sparsity.overall, _DECIMALS)
        size = facts.sizes["weights"]
        return (
            self.family in (None, facts.family)
            and self.architecture in (None, facts.model_type)
            and (self.lowest is None or sparsity >= self.lowest)
            and (self.highest is None or sparsity <= self.highest)
            and (self.task is None or _measured_on(facts, self.task.lower()))
            and not (self.quantized and facts.manifest.quantization is None)
            and (self.largest is None or (size is not None and size <= self.largest))
            and self.parent in (None, facts.manifest.parents.base_model)
        )


@dataclass(frozen=True)
class Hit:
    """A model that was found; ``private`` is None where the Hub was not asked."""

    facts: ModelFacts
    private: bool | None


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Args:
        hits: the models, the last changed first.
        left_out: how many repositories could not be judged, by the reason.
        more: whether there are more than were asked for.
        asked: the Hub's address; None if only the cache was searched.
    """

    hits: tuple[Hit, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    more: bool = False
    asked: str | None = None


@dataclass(frozen=True)
class _Candidate:
    repo_id: str
    commit: str | None
    private: bool | None


def search_models(
    wanted: Wanted, *, endpoint: str | None = None, token: str | None = None, limit: int | None = None
) -> Found:
    """Return the packages that are what is wanted.

    Args:
        wanted: what to look for.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: for private repositories.
        limit: how many to return at most; None for all.

    Raises:
        HubError: if the Hub refuses, or does not answer.
    """
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    offline = is_offline_mode()
    hits: list[Hit] = []
    left_out: Counter[str] = Counter()
    with one_line_refusals("search", api.endpoint), ThreadPoolExecutor(_AT_ONCE) as pool:
        candidates = _cached(wanted) if offline else _listed(api, wanted)
        while batch := list(islice(candidates, _AT_ONCE)):
            for result in pool.map(lambda each: _read(api, each), batch):
                if isinstance(result, str):
                    left_out[result] += 1
                elif wanted.admits(result.facts):
                    hits.append(result)
            if limit is not None and len(hits) > limit:
                break
    shown = tuple(hits if limit is None else hits[:limit])
    return Found(shown, dict(left_out), len(hits) > len(shown), None if offline else api.endpoint)


def _listed(api: HfApi, wanted: Wanted) -> Iterator[_Candidate]:
    # Not what the client makes of every card: some cards it cannot read, and then it reads none.
    for model in api.list_models(
        filter=wanted.tags,
        author=wanted.author,
        search=" ".join(wanted.words) or None,
        sort="last_modified",
    ):
        yield _Candidate(model.id, model.sha, model.private)


def _cached(wanted: Wanted) -> Iterator[_Candidate]:
    for each in cached_packages():
        name = each.repo_id.lower()
        owned = wanted.author is None or name.split("/")[0] == wanted.author.lower()
        if owned and all(word.lower() in name for word in wanted.words):
            yield _Candidate(each.repo_id, each.commit, None)


def _read(api: HfApi, candidate: _Candidate) -> Hit | str:
    """Return the model, or why it cannot be judged."""
    try:
        if not is_offline_mode() and not _in_cache(candidate):
            paths = [*NEEDED, CARD]
            entries = api.get_paths_info(candidate.repo_id, paths, revision=candidate.commit)
            sizes = {entry.path: getattr(entry, "size", None) for entry in entries}
            if MANIFEST not in sizes:
                return NO_MANIFEST
            if any(size is None or size > _LARGEST for size in sizes.values()):
                return BAD_MANIFEST
        facts = hub_facts(api, candidate.repo_id, candidate.commit, name=candidate.repo_id)
    except PackageError:
        return BAD_MANIFEST
    except (GatedRepoError, DisabledRepoError):
        return CLOSED
    except RepositoryNotFoundError:
        return GONE
    return Hit(facts, candidate.private)


def _in_cache(candidate: _Candidate) -> bool:
    return candidate.commit is not None and all(
        isinstance(try_to_load_from_cache(candidate.repo_id, name, revision=candidate.commit), str)
        for name in (*NEEDED, CARD)
    )


def _measured_on(facts: ModelFacts, task: str) -> bool:
    return any(task in (each.dataset.lower(), each.task.lower()) for each in facts.results)
