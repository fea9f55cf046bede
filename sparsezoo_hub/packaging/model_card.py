"""The model card: README.md, generated from what was measured."""

import re
from dataclasses import dataclass
from typing import Any

from sparsezoo_hub.core.lineage import ancestors, contributing_stages, last_pruning
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.sparsity_report import ComponentSparsity, overall_sparsity
from sparsezoo_hub.packaging.card_metadata import card_metadata, head_of, hub_id
from sparsezoo_hub.packaging.card_template import card_text, citations, family_of
from sparsezoo_hub.packaging.lineage_rows import lineage_rows
from sparsezoo_hub.packaging.manifest import Measurements, Parents, QuantizationEntry, SparsityEntry
from sparsezoo_hub.packaging.markdown import Markdown
from sparsezoo_hub.packaging.stage_words import stage_row, target_words

_LAYER_NUMBER = re.compile(r"(?<=layer\.)\d+")


@dataclass(frozen=True)
class CardSubject:
    """What a card is about.

    ``architecture`` is the class (``BertForMaskedLM``), ``num_parameters`` counts the whole model,
    ``components`` are the pruned weights as measured; a dense model has none, and no ``mask_digest``.
    ``quantization`` is about its int8 form, None if it has none. ``repo_id`` is where the package will be
    published.
    """

    recipe: Recipe
    model_type: str
    architecture: str
    num_parameters: int
    components: tuple[ComponentSparsity, ...]
    sparsity: SparsityEntry
    mask_digest: str | None
    parents: Parents
    measurements: Measurements
    quantization: QuantizationEntry | None = None
    repo_id: str | None = None
    license_id: str | None = None


def render_card(subject: CardSubject) -> str:
    """Return the whole README.md: metadata and text."""
    metadata = card_metadata(
        name=subject.recipe.name,
        model_type=subject.model_type,
        architecture=subject.architecture,
        sparse=subject.mask_digest is not None,
        results=subject.measurements.results,
        base_model=subject.parents.base_model,
        license_id=subject.license_id,
    )
    return card_text(metadata, "template.md.j2", _context(subject))


def _context(subject: CardSubject) -> dict[str, Any]:
    family = family_of(subject.model_type)
    upstream = head_of(subject.architecture)[0] in ("fill-mask", "feature-extraction")
    auto_class = Markdown(head_of(subject.architecture)[1])
    pruning = last_pruning(ancestors(subject.recipe))
    zeros = sum(component.zeros for component in subject.components)
    numel = sum(component.numel for component in subject.components)
    return {
        "name": subject.recipe.name,
        "summary": subject.recipe.summary,
        "dense": subject.mask_digest is None,
        "architecture": subject.architecture,
        "auto_class": auto_class,
        # A model of a task is trained on as what it is, any other gets a head.
        "tuning_class": Markdown("AutoModelForSequenceClassification") if upstream else auto_class,
        "location": Markdown(hub_id(subject.repo_id) or "path/to/this/package"),
        "num_parameters": subject.num_parameters,
        "num_zeros": zeros,
        "components": subject.components,
        "kinds": _kinds(subject.components),
        "total": {"numel": numel, "zeros": zeros},
        "sparsity": subject.sparsity,
        "target": None if pruning is None else target_words(pruning),
        "mask_digest": subject.mask_digest,
        "parents": subject.parents,
        "lineage": lineage_rows(subject.recipe),
        "recipe": subject.recipe,
        "measurements": subject.measurements,
        "quantization": subject.quantization,
        "upstream": upstream,
        "stages": [stage_row(stage) for stage in contributing_stages(subject.recipe)],
        "family": family and {"name": family.name, "text": Markdown(family.text)},
        "citations": citations(),
    }


def _kinds(components: tuple[ComponentSparsity, ...]) -> list[dict[str, Any]]:
    kinds: dict[str, list[ComponentSparsity]] = {}
    for component in components:
        kinds.setdefault(_LAYER_NUMBER.sub("*", component.name), []).append(component)
    return [
        {
            "name": name,
            "number": len(members),
            "numel": sum(member.numel for member in members),
            "zeros": sum(member.zeros for member in members),
            "sparsity": overall_sparsity(members),
        }
        for name, members in kinds.items()
    ]
