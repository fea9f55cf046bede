"""The model card: README.md, generated from what was measured.

The template and each family's own text are in ``model_cards/``. Every value in the template passes
``markdown.inline``, so that no name, label or note can change the card's form.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sparsezoo_hub.core.lineage import contributing_stages
from sparsezoo_hub.core.recipe import Recipe, Stage
from sparsezoo_hub.core.sparsity_report import ComponentSparsity, overall_sparsity
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.card_metadata import card_metadata, head_of, hub_id
from sparsezoo_hub.packaging.manifest import Measurements, Parents, QuantizationEntry, SparsityEntry
from sparsezoo_hub.packaging.markdown import Markdown, inline

MODEL_CARDS = Path(__file__).parent.parent / "model_cards"
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_LAYER_NUMBER = re.compile(r"(?<=layer\.)\d+")
_MINUTE = 60.0


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


class Family(BaseModel):
    """An architecture's own text: the front matter of a file of ``model_cards/``, and its body."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model_types: tuple[str, ...]
    text: str


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
    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML: finalize escapes every value
        loader=jinja2.FileSystemLoader(MODEL_CARDS),
        finalize=inline,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": _count, "fraction": _fraction, "short": _short, "duration": _duration}
    text = environment.get_template("template.md.j2").render(_context(subject))
    block = metadata.to_yaml(line_break="\n")
    return f"---\n{block}\n---\n\n{text}"


def family_of(model_type: str) -> Family | None:
    """Return the family whose text covers ``model_type``, None if there is none.

    Raises:
        PackageError: if a file of ``model_cards/`` is malformed.
    """
    families = (_read_family(path) for path in sorted(MODEL_CARDS.glob("*.md")))
    return next((family for family in families if model_type in family.model_types), None)


def _read_family(path: Path) -> Family:
    match = _FRONT_MATTER.match(path.read_text(encoding="utf-8"))
    try:
        if match is None:
            raise ValueError("it must begin with a YAML block between two lines of ---")
        return Family.model_validate({**yaml.safe_load(match[1]), "text": match[2].strip()})
    except (ValidationError, ValueError, TypeError, yaml.YAMLError) as error:
        raise PackageError(f"{path} is no family text: {' '.join(str(error).split())}") from None


def _context(subject: CardSubject) -> dict[str, Any]:
    family = family_of(subject.model_type)
    upstream = subject.recipe.stage(subject.recipe.package).is_language_modelling
    auto_class = Markdown(head_of(subject.architecture)[1])
    citations = (MODEL_CARDS / "citations.bib").read_text(encoding="utf-8").strip()
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
        "mask_digest": subject.mask_digest,
        "parents": subject.parents,
        "recipe": subject.recipe,
        "measurements": subject.measurements,
        "quantization": subject.quantization,
        "upstream": upstream,
        "stages": [_stage_row(stage) for stage in contributing_stages(subject.recipe)],
        "family": family and {"name": family.name, "text": Markdown(family.text)},
        "citations": Markdown(citations),
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


def _stage_row(stage: Stage) -> dict[str, object]:
    return {
        "name": stage.name,
        "model": stage.model,
        "objective": stage.objective.kind.replace("_", " "),
        "data": stage.data,
        "steps": _length_words(stage),
        "batch_size": stage.batch_size,
        "learning_rate": _learning_rate_words(stage),
        "distillation": _distillation_words(stage),
        "pruning": "; ".join([_pruning_words(stage), *_structure_words(stage)]),
    }


def _length_words(stage: Stage) -> str:
    length = f"{stage.length:g} epochs" if stage.steps is None else str(stage.steps)
    return f"up to {length}" if stage.plateau else length


def _learning_rate_words(stage: Stage) -> str:
    rate = stage.learning_rate
    words = f"{rate.peak:g}, {rate.schedule}, warm-up {rate.warmup_ratio:g}"
    if rate.cycle is not None:
        words += f", a cycle of {rate.cycle:g}"
    for restart in rate.restarts:
        words += f", from {restart.at:g} again {restart.peak or rate.peak:g}"
    return words


def _structure_words(stage: Stage) -> list[str]:
    words = []
    kept, frozen = stage.layers, stage.frozen_embeddings
    if kept is not None:
        names = f"{kept.count} {kept.choice}" if kept.layers is None else ", ".join(map(str, kept.layers))
        words.append(f"layers kept: {names}")
    if frozen is not None:
        words.append("embeddings frozen" + ("" if frozen.until is None else f" until {frozen.until:g}"))
    return words


def _distillation_words(stage: Stage) -> str:
    if stage.distillation is None:
        return "none"
    given = stage.distillation
    words = (
        f"from {stage.teacher}, lambda_PT {given.task_weight:g}, lambda_kd {given.distillation_weight:g}, "
        f"temperature {given.temperature:g}"
    )
    for name, weight in (("hidden states", given.hidden_states), ("attentions", given.attentions)):
        words += f", {name} {weight:g}" if weight else ""
    return words


def _pruning_words(stage: Stage) -> str:
    pruning = stage.pruning
    if pruning is None:
        return "pattern locked" if stage.lock else "none"
    start, policy_end, end = pruning.window
    unit = "epochs" if stage.steps is None else "steps"
    finals = ", ".join(f"{final:g}" for final in sorted(set(pruning.sparsities.values())))
    words = f"{pruning.method.replace('_', ' ')}, {pruning.scope}, {pruning.structure}, {pruning.schedule} "
    if pruning.interval is None:
        return f"{words}to {finals} at {unit} {start:g}"
    return (
        f"{words}from {pruning.initial_sparsity:g} to {finals} over {unit} {start:g} to {policy_end:g}, "
        f"masks updated every {pruning.interval:g} up to {end:g}"
    )


def _count(value: int) -> str:
    return f"{value:,}"


def _fraction(value: float) -> str:
    return f"{value:.4f}"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 2 * _MINUTE else f"{seconds / _MINUTE:.0f} minutes"
