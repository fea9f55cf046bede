from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from packaging_case import tiny_recipe
from test_model_card import tiny_subject

from sparsezoo_hub.core.recipe import Parent, Provenance
from sparsezoo_hub.packaging.lineage_rows import lineage_rows
from sparsezoo_hub.packaging.model_card import CardSubject, render_card
from sparsezoo_hub.packaging.recipe_card import RecipeSubject, paper_tables, render_recipe_card
from sparsezoo_hub.training.recipe_library import load_recipe, recipe_sparsity


def card_of(name: str, paper_model: str | None) -> str:
    return render_recipe_card(RecipeSubject(name, load_recipe(name), recipe_sparsity(name), paper_model))


def test_it_says_that_there_is_only_a_recipe_and_claims_nothing() -> None:
    card = card_of("oberta/base-90", "oberta/base-90")
    data = ModelCard(card).data
    assert "**This model exists only as a recipe.**" in card
    assert data.tags == ["sparsezoo-hub", "recipe-only", "roberta"]
    assert data.eval_results is None
    assert data.get("library_name") is None  # nothing can be loaded
    assert "from_pretrained(" not in card
    assert "sparsity.png" not in card


def test_a_papers_numbers_are_named_as_the_papers_with_their_table() -> None:
    card = card_of("prune-ofa/bert-base-90", "prune-ofa/bert-base-90")
    assert "the authors' numbers of their own model" in card
    assert "| squad-v1 | floats | F1 | 87.25 | Prune Once for All, tables 1 to 3 |" in card
    assert "| qqp | floats | accuracy | 90.93 | Prune Once for All, tables 1 to 3 |" in card
    assert "88.42" not in card  # that of 85 %
    assert "| int8 |" not in card  # the paper has none at 90 %


@pytest.mark.parametrize(
    ("name", "upstream", "rows"),
    [
        (
            "transfer/squad:oberta-base-90",
            "oberta/base-90",
            ["floats | F1 | 90.95 | oBERTa, table 8", "floats | EM | 84.42 | oBERTa, table 8"],
        ),
        (
            "transfer/squad:oberta-base-90-int8",
            "oberta/base-90",
            ["int8 | F1 | 89.46 | oBERTa, table 8", "int8 | EM | 82.61 | oBERTa, table 8"],
        ),
        (
            "transfer/sst2:prune-ofa-bert-base-85",
            "prune-ofa/bert-base-85",
            ["floats | accuracy | 91.46 | Prune Once for All, tables 1 to 3"],
        ),
    ],
)
def test_a_model_of_a_task_has_the_numbers_of_that_task_alone(
    name: str, upstream: str, rows: list[str]
) -> None:
    section = card_of(name, upstream).split("## What the paper reports")[1].split("## ")[0]
    table = [line.strip("| ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ", 1)[1] for row in table] == rows


def test_an_odd_number_is_pointed_out_where_it_stands() -> None:
    assert "exact match above F1" in card_of("oberta/medium", "oberta/medium")
    assert "exact match above F1" not in card_of("oberta/base", "oberta/base")


def test_without_a_paper_there_are_no_numbers_of_one() -> None:
    card = render_recipe_card(RecipeSubject("mine.yaml", tiny_recipe(), 0.9))
    assert "What the paper reports" not in card
    assert (
        "Pruned to 0.9 of each weight by itself. This is the recipe's target, not a count of zeros." in card
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("oberta/base", "Dense: nothing is pruned"),
        ("sparse-bert/biobert-90", "As sparse as what it starts from, 0.9000 by that recipe"),
        ("sparse-bert/biobert-90", "| dense | google-bert/bert-base-uncased | not pinned |"),
        ("sparse-bert/biobert-90", "First comes what the recipe sparse-bert/base-90 makes"),
        ("quickstart/bert-tiny-90", "| backbone | bert, initialised at random |  |"),
        ("transfer/squad:oberta-base-90-int8", "Trained for int8"),
    ],
)
def test_it_says_what_the_recipe_says(name: str, said: str) -> None:
    assert said in card_of(name, None)


def test_every_model_of_a_table_is_a_recipe_of_the_library() -> None:
    names = {name for each in paper_tables() for name in (*each.floats, *each.int8, *each.notes)}
    assert all(load_recipe(name).stage(load_recipe(name).package).is_language_modelling for name in names)
    assert len(names) == 15


def pinned_subject() -> CardSubject:
    recipe = tiny_recipe()
    parents = {
        "backbone": Parent(model_type="bert", pretrained="org/bert", revision="v1.0"),
        "unused": Parent(model_type="bert", pretrained="org/unused"),
    }
    return replace(tiny_subject(), recipe=recipe.model_copy(update={"parents": parents}))


def test_the_lineage_names_revisions_and_leaves_out_what_was_not_used() -> None:
    subject = pinned_subject()
    assert "| backbone | org/bert | v1.0 |" in render_card(subject)
    assert "unused" not in render_card(subject)
    given = Provenance(parents={"backbone": "another/bert"}, data={}, versions={})
    run = subject.recipe.model_copy(update={"provenance": given})
    # The revision is that of the recipe's own model, and says nothing of the one that took its place.
    assert lineage_rows(run) == [{"name": "backbone", "source": "another/bert", "revision": ""}]


def test_a_shortened_run_says_so_with_its_versions() -> None:
    subject = tiny_subject()
    provenance = Provenance(
        parents={},
        data={},
        max_steps=2000,
        precision="bfloat16",
        versions={"python": "3.11.7", "torch": "2.13.0"},
    )
    recipe = subject.recipe.model_copy(update={"provenance": provenance})
    card = render_card(replace(subject, recipe=recipe))
    assert "- Precision: bfloat16" in card
    assert "- Shortened: no stage was longer than 2,000 steps" in card
    assert "- Versions: python 3.11.7, torch 2.13.0" in card


def test_a_target_over_all_weights_together_is_not_claimed_for_each() -> None:
    subject = tiny_subject()
    stages = tuple(
        stage if stage.pruning is None
        else stage.model_copy(update={"pruning": stage.pruning.model_copy(update={"scope": "global"})})
        for stage in subject.recipe.stages
    )  # fmt: skip
    card = render_card(replace(subject, recipe=subject.recipe.model_copy(update={"stages": stages})))
    assert "0.9 of all its weights together" in card
    assert "of each weight by itself" in render_card(subject)


@pytest.mark.parametrize(
    ("seconds", "said"), [(12.5, "12 seconds"), (600, "10 minutes"), (90_000, "25.0 hours")]
)
def test_the_training_time_is_in_a_unit_that_can_be_read(seconds: float, said: str) -> None:
    subject = tiny_subject()
    measured = subject.measurements.model_copy(update={"train_seconds": seconds})
    assert f"- Training time: {said}" in render_card(replace(subject, measurements=measured))
