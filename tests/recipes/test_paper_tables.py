from functools import cache

import paper_tables as paper
import pytest

from sparsezoo_hub.core.recipe import BACKBONE, Stage
from sparsezoo_hub.core.stage_settings import Distillation, Pruning
from sparsezoo_hub.training.recipe_library import load_recipe

loaded = cache(load_recipe)

PRUNE_OFA_MODELS = ("bert-base-85", "bert-base-90", "bert-large-90", "distilbert-85", "distilbert-90")
# Linear weights of one RoBERTa layer: query, key, value and output, and the two of the feed-forward network.
LAYER_WEIGHTS = 4 * 768 * 768 + 2 * 768 * 3072
DEPTHS = {"base": 12, "medium": 6, "small": 3}
GLUE = ("mnli", "qqp", "qnli", "sst2")


def pruning_of(stage: Stage) -> Pruning:
    assert stage.pruning is not None
    return stage.pruning


def distillation_of(stage: Stage) -> Distillation:
    assert stage.distillation is not None
    return stage.distillation


def teacher_settings(stage: Stage) -> tuple[float | None, ...]:
    """A row of tables 20 and 21."""
    rate = stage.learning_rate
    return stage.epochs, stage.batch_size, rate.peak, stage.weight_decay, rate.warmup_ratio


def check_table_6(stage: Stage, column: str) -> None:
    table = paper.PRUNE_OFA_TABLE_6[column]
    assert stage.learning_rate.peak in table["learning_rate"]
    assert stage.learning_rate.warmup_ratio in table["warmup_ratio"]
    assert stage.learning_rate.schedule == "linear"
    assert stage.weight_decay in table["weight_decay"]
    assert stage.epochs in table["epochs"]
    assert stage.batch_size == table["batch_size"]
    assert stage.max_length == table["sequence_length"]
    distillation = distillation_of(stage)
    assert distillation.task_weight == table["lambda_pt"]
    assert distillation.distillation_weight == table["lambda_kd"]
    assert distillation.temperature == table["temperature"]


@pytest.mark.parametrize("model", PRUNE_OFA_MODELS)
@pytest.mark.parametrize("step", [0, 1], ids=["teacher", "student"])
def test_prune_ofa_trains_upstream_as_in_table_5(model: str, step: int) -> None:
    table = paper.PRUNE_OFA_TABLE_5
    stage = loaded(f"prune-ofa/{model}").stages[step]
    assert stage.learning_rate.peak == paper.PRUNE_OFA_LEARNING_RATES[model.rpartition("-")[0]][step]
    assert stage.learning_rate.warmup_ratio == table["warmup_ratio"]
    assert stage.learning_rate.schedule == ("linear", "rewinding")[step]
    assert stage.batch_size == table["batch_size"]
    assert stage.weight_decay == table["weight_decay"]
    assert stage.steps == table["max_steps"]
    assert stage.max_length == table["sequence_length"]
    assert stage.objective.kind == ("masked_lm" if "distil" in model else "masked_lm_next_sentence")


@pytest.mark.parametrize("model", PRUNE_OFA_MODELS)
def test_prune_ofa_prunes_and_distils_as_in_table_5(model: str) -> None:
    table = paper.PRUNE_OFA_TABLE_5
    stage = loaded(f"prune-ofa/{model}").stage("student")
    pruning, distillation = pruning_of(stage), distillation_of(stage)
    assert pruning.window == (table["pruning_start"], table["pruning_policy_end"], table["pruning_end"])
    assert pruning.interval == table["pruning_interval"]
    assert distillation.lambda_pt == table["lambda_pt"]
    assert distillation.lambda_kd == table["lambda_kd"]
    assert distillation.temperature == table["temperature"]
    assert set(pruning.targets) == ({"encoder"} if "distil" in model else {"encoder", "pooler"})


@pytest.mark.parametrize("model", PRUNE_OFA_MODELS)
@pytest.mark.parametrize("task", ["squad", *GLUE])
def test_prune_ofa_transfers_within_the_grid_of_table_6(task: str, model: str) -> None:
    recipe = loaded(f"transfer/{task}:prune-ofa-{model}")
    assert recipe.parents[BACKBONE].recipe == f"prune-ofa/{model}"
    check_table_6(recipe.stage("transfer"), "glue" if task in GLUE else "squad")


@pytest.mark.parametrize(("model", "percent"), paper.PRUNE_OFA_FINETUNE_PRUNED)
@pytest.mark.parametrize("task", ["squad", *GLUE])
def test_finetune_pruning_has_the_hyper_parameters_of_the_transfer_it_is_compared_with(
    task: str, model: str, percent: int
) -> None:
    stage = loaded(f"finetune-pruning/prune-ofa:{task}-{model}-{percent}").stage("pruned")
    check_table_6(stage, "glue" if task in GLUE else "squad")
    assert pruning_of(stage).final_sparsity == percent / 100
    transfer = loaded(f"transfer/{task}:prune-ofa-{model}-{percent}").stage("transfer")
    alike = {"data", "max_length", "epochs", "batch_size", "learning_rate", "weight_decay", "seeds"}
    assert stage.model_dump(include=alike) == transfer.model_dump(include=alike)


@pytest.mark.parametrize("model", ["base", "medium", "small", *paper.OBERTA_TABLE_18_ZEROS])
def test_oberta_trains_upstream_as_in_table_22(model: str) -> None:
    table = paper.OBERTA_TABLE_22
    recipe = loaded(f"oberta/{model}")
    stage = recipe.stage(recipe.package)
    assert stage.epochs == table["epochs"]
    assert stage.batch_size == table["batch_size"]
    assert stage.learning_rate.peak == table["learning_rate"]
    assert stage.learning_rate.schedule == "cyclic"
    assert stage.learning_rate.cycle == table["rewind_every"]
    assert stage.max_length == table["sequence_length"]
    assert stage.weight_decay == table["weight_decay"]
    assert stage.frozen_embeddings is None  # table 6
    assert distillation_of(stage).hardness == table["hardness"]
    assert distillation_of(stage).temperature == table["temperature"]
    assert stage.teacher is not None
    assert recipe.parents[stage.teacher].pretrained == "FacebookAI/roberta-large"


@pytest.mark.parametrize("size", DEPTHS)
def test_the_dense_oberta_models_have_the_depths_of_section_3(size: str) -> None:
    (stage,) = loaded(f"oberta/{size}").stages
    assert stage.pruning is None
    if size == "base":
        assert stage.layers is None
    else:
        assert stage.layers is not None
        assert stage.layers.count == DEPTHS[size]
        assert stage.layers.choice == {"medium": "interleaved", "small": "first_middle_last"}[size]


@pytest.mark.parametrize("model", paper.OBERTA_TABLE_18_ZEROS)
def test_oberta_prunes_as_in_table_22_to_the_zeros_of_table_18(model: str) -> None:
    size = model.partition("-")[0]
    recipe = loaded(f"oberta/{model}")
    assert recipe.parents[BACKBONE].recipe == f"oberta/{size}"
    pruning = pruning_of(recipe.stage(recipe.package))
    assert pruning.initial_sparsity == paper.OBERTA_TABLE_22["initial_sparsity"][DEPTHS[size]]
    assert pruning.interval is not None
    assert 1 / pruning.interval == pytest.approx(paper.OBERTA_TABLE_22["masks_per_epoch"])
    assert list(pruning.targets) == ["encoder"]
    assert pruning.final_sparsity is not None
    zeros = pruning.final_sparsity * DEPTHS[size] * LAYER_WEIGHTS + paper.OBERTA_TABLE_18_DENSE_ZEROS[size]
    assert zeros == pytest.approx(paper.OBERTA_TABLE_18_ZEROS[model], abs=1000)


@pytest.mark.parametrize("model", paper.OBERTA_TABLE_25)
@pytest.mark.parametrize("task", paper.OBERTA_TABLE_25_TASKS)
def test_oberta_transfers_at_the_learning_rates_of_table_25_within_the_grid_of_table_23(
    task: str, model: str
) -> None:
    table = paper.OBERTA_TABLE_23
    recipe = loaded(f"transfer/{task}:{model}")
    stage = recipe.stage("transfer")
    column = paper.OBERTA_TABLE_25_TASKS.index(task)
    assert stage.learning_rate.peak == paper.OBERTA_TABLE_25[model][column]
    assert stage.learning_rate.peak in table["learning_rate"]
    assert stage.learning_rate.schedule == "linear"
    assert stage.learning_rate.warmup_ratio == 0
    assert stage.epochs == table["epochs"]
    assert stage.batch_size == table["batch_size"]
    assert stage.weight_decay in table["weight_decay"]
    assert distillation_of(stage).hardness in table["hardness"]
    assert distillation_of(stage).temperature == table["temperature"]
    assert stage.frozen_embeddings is None or stage.frozen_embeddings.until is None
    assert recipe.parents["teacher"].pretrained in table["teacher"]


@pytest.mark.parametrize("model", paper.OBERTA_TABLE_25)
@pytest.mark.parametrize("task", paper.OBERTA_TABLE_25_TASKS)
def test_oberta_task_teachers_are_trained_as_in_tables_20_and_21(task: str, model: str) -> None:
    recipe = loaded(f"transfer/{task}:{model}")
    stage = recipe.stage("task-teacher")
    pretrained = recipe.parents[stage.model].pretrained
    assert pretrained is not None
    assert teacher_settings(stage) == paper.OBERTA_TEACHERS[pretrained][task]


@pytest.mark.parametrize("percent", paper.OBERTA_DOWNSTREAM_SPARSITIES)
@pytest.mark.parametrize("method", ["gmp", "obs"])
def test_oberta_prunes_downstream_as_in_section_3_1(method: str, percent: int) -> None:
    recipe = loaded(f"finetune-pruning/{method}:{percent}")
    teacher, stage = recipe.stage("task-teacher"), recipe.stage("pruned")
    dense = "FacebookAI/roberta-base"
    assert recipe.parents[teacher.model].pretrained == dense
    assert recipe.parents[stage.model].pretrained == dense
    assert teacher_settings(teacher) == paper.OBERTA_TEACHERS[dense]["squad"]
    pruning = pruning_of(stage)
    assert pruning.method == {"gmp": "magnitude", "obs": "optimal_bert_surgeon"}[method]
    assert list(pruning.window) == [0, 8, 8]
    assert (stage.epochs, stage.batch_size) == (10, paper.OBERTA_TABLE_23["batch_size"])
    assert pruning.final_sparsity == percent / 100
    assert (distillation_of(stage).hardness, distillation_of(stage).temperature) == (1.0, 5.0)
    assert len(stage.seeds) == 3
    assert stage.learning_rate.peak in paper.OBERTA_TABLE_23["learning_rate"]
    assert stage.weight_decay in paper.OBERTA_TABLE_23["weight_decay"]


@pytest.mark.parametrize("model", ["base-90", "medical-90"])
def test_sparse_bert_is_pruned_as_in_section_4_3(model: str) -> None:
    teacher, student = loaded(f"sparse-bert/{model}").stages
    for stage in (teacher, student):
        assert (stage.epochs, stage.batch_size, stage.max_length) == (3, 256, 512)
        assert (stage.learning_rate.peak, stage.learning_rate.cycle) == (5e-4, 0.5)
    pruning = pruning_of(student)
    assert (pruning.initial_sparsity, pruning.final_sparsity) == (0.3, 0.9)
    assert (pruning.start, pruning.end, pruning.interval) == (0, 2, 0.01)
    assert (distillation_of(student).hardness, distillation_of(student).temperature) == (0.5, 2.0)


def test_sparse_biobert_goes_on_from_sparse_bert_with_its_pattern_locked() -> None:
    recipe = loaded("sparse-bert/biobert-90")
    student = recipe.stage(recipe.package)
    assert student.lock
    assert student.pruning is None
    assert recipe.parents[student.model].recipe == "sparse-bert/base-90"
    assert (student.epochs, student.batch_size, student.max_length) == (3, 256, 512)


@pytest.mark.parametrize("task", paper.SPARSE_BERT_TASKS)
@pytest.mark.parametrize("model", ["bert-base", "pubmedbert", "sparse-bert-base-90", "pruned"])
def test_sparse_bert_is_fine_tuned_as_in_section_4_3(task: str, model: str) -> None:
    name = f"finetune-pruning/sparse-bert:{task}" if model == "pruned" else f"transfer/{task}:{model}"
    (stage,) = loaded(name).stages
    assert stage.data == task
    assert (stage.epochs, stage.batch_size, stage.learning_rate.peak) == (10, 16, 5e-5)
    assert stage.teacher is None
    assert len(stage.seeds) == (10 if paper.SPARSE_BERT_TASKS[task] < 1000 else 5)
    assert stage.lock == (model == "sparse-bert-base-90")
    if model == "pruned":
        assert (pruning_of(stage).start, pruning_of(stage).end) == (2, 8)
        assert [restart.at for restart in stage.learning_rate.restarts] == [2, 8]
    else:
        assert stage.learning_rate.schedule == "linear"


def test_the_teachers_rows_of_table_25_repeat_tables_20_and_21() -> None:
    for pretrained, tasks in paper.OBERTA_TEACHERS.items():
        rates = paper.OBERTA_TABLE_25[pretrained.removeprefix("FacebookAI/")]
        assert dict(zip(paper.OBERTA_TABLE_25_TASKS, rates, strict=True)) == {
            task: rate for task, (_, _, rate, _, _) in tasks.items()
        }
