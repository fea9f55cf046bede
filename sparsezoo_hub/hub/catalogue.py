"""The catalogue: which of the models that have a recipe are published on a Hub."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sparsezoo_hub.core.lineage import root_of
from sparsezoo_hub.errors import PackageError, RecipeError
from sparsezoo_hub.hub.model_facts import ModelFacts, read_facts
from sparsezoo_hub.hub.search import Hit, Wanted, search_models
from sparsezoo_hub.packaging.layout import RECIPE
from sparsezoo_hub.packaging.recipe_file import read_recipe


@dataclass(frozen=True)
class Published:
    """A published package of a recipe.

    Args:
        repo_id: where it is.
        commit: what was looked at.
        private: None where the Hub was not asked.
        complete: whether the recipe was run at its own size and length, as far as its record tells; what
            was tried out with small random models or fewer steps bears the same name.
    """

    repo_id: str
    commit: str
    private: bool | None
    complete: bool


@dataclass(frozen=True)
class Publications:
    """What is published of each name; ``left_out`` and ``asked`` are those of the search."""

    by_name: dict[str, list[Published]]
    left_out: dict[str, int]
    asked: str | None


def published_models(
    names: Collection[str],
    owners: Sequence[str] = (),
    *,
    endpoint: str | None = None,
    token: str | None = None,
) -> Publications:
    """Return where packages of these names are.

    Args:
        names: of packages, which are those of their recipes.
        owners: whose repositories are looked at; everybody's if there are none.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: for private repositories.

    Raises:
        HubError: if the Hub refuses, or does not answer.
    """
    by_name: dict[str, list[Published]] = {}
    left_out: dict[str, int] = {}
    asked = None
    for owner in dict.fromkeys(owners) or (None,):
        found = search_models(Wanted(author=owner), endpoint=endpoint, token=token)
        asked = found.asked
        for reason, count in found.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + count
        for hit in found.hits:
            if hit.facts.manifest.name in names:
                published = _published(hit, endpoint, token)
                by_name.setdefault(hit.facts.manifest.name, []).append(published)
    return Publications(by_name, left_out, asked)


def _published(hit: Hit, endpoint: str | None, token: str | None) -> Published:
    repo_id, commit = str(hit.facts.repo_id), str(hit.facts.commit)
    # The recipe is one more file to fetch, and only of these models.
    facts = read_facts(f"{repo_id}@{commit}", endpoint=endpoint, token=token, more=(RECIPE,))
    return Published(repo_id, commit, hit.private, _is_complete(facts))


def _is_complete(facts: ModelFacts) -> bool:
    try:
        recipe = read_recipe(facts.folder)
    except (PackageError, RecipeError):
        return False
    at_random = recipe.parents[root_of(recipe, recipe.package)].vocab_size is not None
    return recipe.provenance is not None and recipe.provenance.max_steps is None and not at_random
