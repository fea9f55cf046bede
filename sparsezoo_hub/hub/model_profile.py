"""The profile of one model: its facts, its recipe, its parameters, and the revisions of its repository."""

from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi, is_offline_mode, parse_local_safetensors_file_metadata
from huggingface_hub.errors import RemoteEntryNotFoundError, SafetensorsParsingError

from sparsezoo_hub.core.lineage import contributing_stages
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.model_facts import ModelFacts, read_facts
from sparsezoo_hub.hub.refusals import one_line_refusals
from sparsezoo_hub.packaging.layout import RECIPE, WEIGHTS
from sparsezoo_hub.packaging.recipe_file import read_recipe


@dataclass(frozen=True)
class ModelProfile:
    """One model in full.

    Args:
        facts: what it says of itself.
        recipe: as it was run.
        parameters: float entries of the weights file; None if that is out of reach.
        branches: commit by name; None for a folder, and where the Hub cannot be asked.
        tags: likewise.
    """

    facts: ModelFacts
    recipe: Recipe
    parameters: int | None
    branches: dict[str, str] | None
    tags: dict[str, str] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON holds it."""
        manifest, recipe = self.facts.manifest, self.recipe
        return {
            **self.facts.to_dict(),
            "summary": recipe.summary,
            "recipe": recipe.name,
            "stages": [each.name for each in contributing_stages(recipe)],
            "provenance": None if recipe.provenance is None else recipe.provenance.model_dump(mode="json"),
            "parameters": self.parameters,
            "per_component": {
                name: each.model_dump() for name, each in manifest.sparsity.per_component.items()
            },
            "measurements": manifest.measurements.model_dump(mode="json"),
            "files": {name: each.model_dump() for name, each in manifest.files.items()},
            "versions": manifest.versions,
            "branches": self.branches,
            "tags": self.tags,
        }


def read_profile(reference: str, *, endpoint: str | None = None, token: str | None = None) -> ModelProfile:
    """Return the profile of a package; no weights are fetched.

    Args:
        reference: a folder, ``owner/name`` or ``owner/name@revision``.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: for private repositories.

    Raises:
        PackageError: if it is no package, or a file of it cannot be read.
        RecipeError: if its recipe has problems.
        HubError: if it is no folder, and the Hub does not have it or does not answer.
    """
    facts = read_facts(reference, endpoint=endpoint, token=token, more=(RECIPE,))
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    branches = tags = None
    if facts.repo_id is not None and not is_offline_mode():
        with one_line_refusals(f"revisions of {facts.repo_id}", api.endpoint):
            refs = api.list_repo_refs(facts.repo_id)
        branches = {each.name: each.target_commit for each in refs.branches}
        tags = {each.name: each.target_commit for each in refs.tags}
    return ModelProfile(facts, read_recipe(facts.folder), count_parameters(facts, api), branches, tags)


def count_parameters(facts: ModelFacts, api: HfApi) -> int | None:
    """Return the float entries of the weights file, by its header alone; None without file and Hub.

    Raises:
        PackageError: if the file is missing at the Hub, or its header cannot be read.
        HubError: if the Hub refuses, or does not answer.
    """
    weights = facts.folder / WEIGHTS
    try:
        if weights.exists():
            header = parse_local_safetensors_file_metadata(weights)
        elif facts.repo_id is None or is_offline_mode():
            return None
        else:
            with one_line_refusals(f"parameters of {facts.name}", api.endpoint):
                header = api.parse_safetensors_file_metadata(facts.repo_id, WEIGHTS, revision=facts.commit)
    except (SafetensorsParsingError, RemoteEntryNotFoundError) as error:
        raise PackageError(
            f"{facts.name}: {WEIGHTS} cannot be read: {' '.join(str(error).split())[:200]}"
        ) from None
    # F32, F16, BF16, F8_E4M3 ...: older models keep position numbers in the file too, as integers.
    return sum(count for dtype, count in header.parameter_count.items() if dtype.lstrip("B").startswith("F"))
