"""The card of a model that exists only as a recipe: what would be made, and what a paper reports."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import yaml
from huggingface_hub import ModelCardData
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sparsezoo_hub.core.lineage import ancestors, contributing_stages, last_pruning, root_of
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.card_metadata import TAGS, hub_id
from sparsezoo_hub.packaging.card_template import MODEL_CARDS, card_text, citations, family_of
from sparsezoo_hub.packaging.lineage_rows import lineage_rows
from sparsezoo_hub.packaging.markdown import Markdown, one_line
from sparsezoo_hub.packaging.stage_words import stage_row, target_words

RECIPE_ONLY_TAG = "recipe-only"
_RESULTS = MODEL_CARDS / "paper-results.yaml"

Values = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class RecipeSubject:
    """What the card of a recipe is about.

    Args:
        reference: what ``sparsezoo-hub train`` takes: a name of the library, or a file.
        recipe: as it is read.
        sparsity: of the package that it would make, None for a dense one.
        paper_model: the upstream recipe whose model of a paper this is, or is transferred from; None if it is
            no paper's.
    """

    reference: str
    recipe: Recipe
    sparsity: float | None
    paper_model: str | None = None


class PaperTable(BaseModel):
    """Results on one task as a paper prints them, by upstream recipe: a value per metric."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    task: str
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    floats: Values
    int8: Values = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)


def render_recipe_card(subject: RecipeSubject) -> str:
    """Return the card of a model that nobody has made yet: no number in it was measured.

    Raises:
        PackageError: if a file of ``model_cards/`` is malformed.
    """
    recipe = subject.recipe
    parent = recipe.parents[root_of(recipe, recipe.package)]
    metadata = ModelCardData(
        language="en",
        tags=[*TAGS, RECIPE_ONLY_TAG, one_line(parent.model_type)],
        base_model=hub_id(parent.pretrained),
    )
    return card_text(metadata, "recipe.md.j2", _context(subject, parent.model_type))


@cache
def paper_tables() -> tuple[PaperTable, ...]:
    """Return every table of results of the papers.

    Raises:
        PackageError: if the file is malformed.
    """
    try:
        content = yaml.safe_load(_RESULTS.read_text(encoding="utf-8"))
        tables = TypeAdapter(tuple[PaperTable, ...]).validate_python(content)
        for each in tables:
            printed = (*each.floats.values(), *each.int8.values())
            if any(len(values) != len(each.metrics) for values in printed):
                raise ValueError(f"{each.table}, {each.task}: one value per metric")
    except (ValidationError, ValueError, yaml.YAMLError) as error:
        raise PackageError(f"{_RESULTS} is no list of tables: {one_line(error)}") from None
    return tables


def _context(subject: RecipeSubject, model_type: str) -> dict[str, Any]:
    recipe = subject.recipe
    line = ancestors(recipe)
    stages = contributing_stages(recipe)
    data = list(dict.fromkeys(stage.data for stage in stages))
    pruning = last_pruning(line)
    family = family_of(model_type)
    rows, notes = _paper_rows(subject)
    return {
        "name": recipe.name,
        "reference": Markdown(subject.reference) if _is_plain(subject.reference) else "",
        "summary": recipe.summary,
        "sparsity": subject.sparsity,
        "target": None if pruning is None else target_words(pruning),
        "locked": any(stage.lock for stage in line),
        "quantized": any(stage.quantization is not None for stage in line),
        "lineage": lineage_rows(recipe),
        "made_first": [
            (name, each.recipe) for name, each in recipe.parents.items() if each.recipe is not None
        ],
        "corpora": [(name, recipe.corpora[name]) for name in data if name in recipe.corpora],
        "tasks": [name for name in data if name not in recipe.corpora],
        "stages": [stage_row(stage) for stage in stages],
        "paper_rows": rows,
        "paper_notes": notes,
        "family": family and {"name": family.name, "text": Markdown(family.text)},
        "citations": citations(),
    }


def _is_plain(reference: str) -> bool:
    # Into a block of code goes only what is one line and ends no block: a library's name always is.
    return reference == one_line(reference) and not set(reference) & set("`\\\"'$<>&")


def _paper_rows(subject: RecipeSubject) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows of the paper's numbers, and what has to be known about them."""
    packaged = subject.recipe.stage(subject.recipe.package)
    own_form = "int8" if any(stage.quantization for stage in ancestors(subject.recipe)) else "floats"
    model = subject.paper_model or ""
    rows, notes = [], []
    for each in paper_tables():
        for form, values in (("floats", each.floats), ("int8", each.int8)):
            # Of an upstream model, a paper has what it becomes on tasks; of a model of a task, that task.
            if not packaged.is_language_modelling and (each.task, form) != (packaged.data, own_form):
                continue
            common = {"task": each.task, "form": form, "table": each.table}
            rows += [
                {**common, "metric": metric, "value": f"{value:g}"}
                for metric, value in zip(each.metrics, values.get(model, ()), strict=False)
            ]
            if form == "int8" and model in values and model in each.notes:
                notes.append(each.notes[model])
    return rows, notes
