"""Comparison: several models side by side, and what differs from the first one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from huggingface_hub import HfApi

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.hub.model_facts import ModelFacts, read_facts
from sparsezoo_hub.hub.model_profile import count_parameters
from sparsezoo_hub.packaging.manifest import TaskResult

_AT_LEAST = 2


class Measure(NamedTuple):
    """What two results must share to be comparable."""

    dataset: str
    metric: str
    split: str


@dataclass(frozen=True)
class Compared:
    """One model of a comparison; ``parameters`` is None where its weights are out of reach."""

    facts: ModelFacts
    parameters: int | None

    @property
    def num_kept(self) -> int | None:
        """Parameters that the pattern does not hold at zero."""
        return None if self.parameters is None else self.parameters - self.facts.num_zeros

    @property
    def transport_size(self) -> int | None:
        """Bytes of the smallest form that expands to the very same weights: compact, or plain if dense."""
        sizes = self.facts.sizes
        return sizes["weights"] if sizes["compact"] is None else sizes["compact"]

    @property
    def results(self) -> dict[Measure, TaskResult]:
        """This model's own results, by what they measure."""
        return {Measure(each.dataset, each.metric, each.split): each for each in self.facts.results}


@dataclass(frozen=True)
class Comparison:
    """Models in the order they were given; the first one is what the others are compared with."""

    models: tuple[Compared, ...]

    @property
    def measures(self) -> list[Measure]:
        """Everything that any of the models was measured by, in the models' order."""
        return list(dict.fromkeys(measure for model in self.models for measure in model.results))

    @property
    def common_measures(self) -> list[Measure]:
        """What at least two of the models were measured by."""
        return [
            measure
            for measure in self.measures
            if sum(measure in model.results for model in self.models) >= _AT_LEAST
        ]

    @property
    def apart(self) -> list[str]:
        """The models that have no result in common with the first one."""
        first, *others = self.models
        return [each.facts.name for each in others if not first.results.keys() & each.results.keys()]

    def difference(self, model: Compared, measure: Measure) -> float | None:
        """Return a model's mean less the first one's; None if either has none, and for the first itself."""
        first = self.models[0].results.get(measure)
        own = model.results.get(measure)
        return None if first is None or own is None or model is self.models[0] else own.mean - first.mean

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON holds it."""
        return {
            "models": [
                {**each.facts.to_dict(), "parameters": each.parameters, "kept": each.num_kept}
                for each in self.models
            ],
            "results": [
                {
                    **measure._asdict(),
                    "models": [self._result_dict(each, measure) for each in self.models],
                }
                for measure in self.measures
            ],
            "nothing_in_common_with_the_first": self.apart,
        }

    def _result_dict(self, model: Compared, measure: Measure) -> dict[str, Any] | None:
        result = model.results.get(measure)
        if result is None:
            return None
        return {
            "mean": result.mean,
            "std": result.std,
            "num_seeds": len(result.seeds),
            "difference": self.difference(model, measure),
        }


def compare_models(
    references: Sequence[str], *, endpoint: str | None = None, token: str | None = None
) -> Comparison:
    """Return models side by side; no weights are fetched.

    Args:
        references: two or more: folders, ``owner/name`` or ``owner/name@revision``.
        endpoint: the Hub's address; by default HF_ENDPOINT, or the public Hub.
        token: for private repositories.

    Raises:
        PackageError: if there are fewer than two, or one is no package.
        HubError: if one is no folder, and the Hub does not have it or does not answer.
    """
    if len(references) < _AT_LEAST:
        raise PackageError(f"a comparison needs two models or more, got {len(references)}: name another one")
    api = HfApi(endpoint=endpoint, token=token, library_name="sparsezoo_hub")
    found = [read_facts(each, endpoint=endpoint, token=token) for each in references]
    return Comparison(tuple(Compared(each, count_parameters(each, api)) for each in found))
