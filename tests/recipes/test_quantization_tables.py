"""The quantized recipes, compared with the papers' tables."""

import paper_tables as paper
import pytest

from sparsezoo_hub.training.recipe_library import load_recipe, recipe_variants

PRUNE_OFA_TASKS = {"squad": "squad", "mnli": "glue", "qqp": "glue", "qnli": "glue", "sst2": "glue"}
PRUNE_OFA_MODELS = ("bert-base-85", "bert-base-90", "bert-large-90", "distilbert-85", "distilbert-90")
OBERTA_MODELS = [model for model in paper.OBERTA_TABLE_25 if model.startswith("oberta-")]


@pytest.mark.parametrize("model", PRUNE_OFA_MODELS)
@pytest.mark.parametrize("task", PRUNE_OFA_TASKS)
def test_prune_ofa_quantizes_in_a_session_of_its_own_as_in_table_7(task: str, model: str) -> None:
    table = paper.PRUNE_OFA_TABLE_7[PRUNE_OFA_TASKS[task]]
    recipe = load_recipe(f"transfer/{task}:prune-ofa-{model}-int8")
    stage = recipe.stage(recipe.package)
    assert (stage.model, stage.teacher, stage.lock) == ("transfer", "task-teacher", True)
    assert stage.learning_rate.peak in table["learning_rate"]
    assert stage.learning_rate.schedule == "linear"
    assert stage.learning_rate.warmup_ratio in table["warmup_ratio"]
    assert (stage.epochs, stage.batch_size) == (table["epochs"], table["batch_size"])
    assert stage.weight_decay in table["weight_decay"]
    assert stage.max_length == table["sequence_length"]
    assert stage.distillation is not None
    assert stage.distillation.task_weight == table["lambda_pt"]
    assert stage.distillation.distillation_weight == table["lambda_kd"]
    assert stage.distillation.temperature == table["temperature"]
    assert stage.quantization is not None
    assert (stage.quantization.start, stage.quantization.freeze) == (0, None)
    assert load_recipe(f"transfer/{task}:prune-ofa-{model}").stages == recipe.stages[:-1]


@pytest.mark.parametrize("model", OBERTA_MODELS)
@pytest.mark.parametrize("task", paper.OBERTA_TABLE_25_TASKS)
def test_oberta_quantizes_in_the_second_half_of_the_transfer_as_in_table_24(task: str, model: str) -> None:
    table = paper.OBERTA_TABLE_24
    without = load_recipe(f"transfer/{task}:{model}").stage("transfer")
    stage = load_recipe(f"transfer/{task}:{model}-int8").stage("transfer")
    assert stage.epochs == table["epochs"]
    assert stage.learning_rate.schedule == "restarts"
    (restart,) = stage.learning_rate.restarts
    assert (restart.at, restart.peak) == (table["quantized_from"], table["rewind_to"])
    assert stage.quantization is not None
    assert stage.quantization.start == table["quantized_from"]
    assert stage.quantization.freeze == table["frozen_from"]
    assert (stage.frozen_embeddings is None) == (without.frozen_embeddings is None)
    if stage.frozen_embeddings is not None:
        assert stage.frozen_embeddings.until == table["embeddings_frozen_until"]
    assert stage.learning_rate.peak == without.learning_rate.peak
    assert (stage.batch_size, stage.distillation, stage.lock) == (
        paper.OBERTA_TABLE_23["batch_size"],
        without.distillation,
        without.lock,
    )


def test_the_papers_quantized_models_are_all_there() -> None:
    quantized = {
        (name, variant)
        for name, variants in recipe_variants().items()
        for variant in variants
        if variant.endswith("-int8")
    }
    expected = {
        (f"transfer/{task}", f"prune-ofa-{model}-int8")
        for task in PRUNE_OFA_TASKS
        for model in PRUNE_OFA_MODELS
    }
    expected |= {
        (f"transfer/{task}", f"{model}-int8")
        for task in paper.OBERTA_TABLE_25_TASKS
        for model in OBERTA_MODELS
    }
    assert quantized == expected
