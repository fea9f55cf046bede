"""What makes a run the same on any number of processes, piece by piece and in one process."""

from pathlib import Path

import pytest
import torch
from run_case import tiny_recipe
from torch.ao.quantization import MovingAverageMinMaxObserver
from torch.utils.data import DataLoader
from training_case import classifier, labelled_rows, language_model, masked_rows, sparse_trainer, stack
from transformers import PreTrainedModel

from sparsezoo_hub.core.input_observer import InputObserver
from sparsezoo_hub.core.recipe import Stage
from sparsezoo_hub.core.stage_settings import Distillation
from sparsezoo_hub.errors import LockError, RecipeError
from sparsezoo_hub.training.numbered_rows import NumberedRows, RowOrder, shuffled
from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.run import RecipeRun
from sparsezoo_hub.training.trainer import count_items
from sparsezoo_hub.training.training_arguments import split_batch


def stage(batch_size: int) -> Stage:
    first = tiny_recipe().stages[0]
    return first.model_copy(update={"batch_size": batch_size})


@pytest.mark.parametrize(
    ("processes", "per_device", "expected"),
    [(1, None, (24, 1)), (4, None, (6, 1)), (4, 6, (6, 1)), (4, 100, (6, 1)), (4, 2, (2, 3)), (1, 8, (8, 3))],
)
def test_processes_times_rows_times_accumulation_is_the_batch(
    processes: int, per_device: int | None, expected: tuple[int, int]
) -> None:
    assert split_batch(stage(24), processes, per_device) == expected


def test_a_batch_that_cannot_be_split_is_refused_with_what_can() -> None:
    with pytest.raises(RecipeError, match="cannot be split over 7 processes; start 6 of them"):
        split_batch(stage(24), 7, None)
    with pytest.raises(RecipeError, match=r"each of 2 processes 12 rows, .* of 5; take 4"):
        split_batch(stage(24), 2, 5)


@pytest.mark.parametrize("num_rows", [3, 8, 10])
def test_an_epoch_has_every_row_once_and_is_filled_up_with_its_first(num_rows: int) -> None:
    order = RowOrder(num_rows, 4, shuffled(num_rows, seed=5))
    first, again = list(order), list(order)
    order.set_epoch(1)
    second = list(order)
    assert first == again
    assert len(first) == len(second) == len(order) == -(-num_rows // 4) * 4
    assert [number for number, _ in first + second] == list(range(2 * len(order)))
    indices = [index for _, index in first]
    assert sorted(indices[:num_rows]) == list(range(num_rows))
    assert indices[num_rows:] == (indices * 2)[: len(order) - num_rows]
    assert [index for _, index in second] != indices or num_rows == 3


def test_workers_mask_a_row_as_the_process_itself_does() -> None:
    rows = [{"input_ids": torch.arange(index, index + 4)} for index in range(12)]
    data = NumberedRows(rows, noted, seed=3)
    found = []
    for workers in (0, 2):
        order = RowOrder(12, 6, shuffled(12, seed=1))
        loader = DataLoader(
            data,
            sampler=order,  # type: ignore[arg-type]
            batch_size=2,
            collate_fn=list,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )
        found.append([int(row["seed"]) for batch in loader for row in batch])
    assert found[0] == found[1]
    assert len(set(found[0])) == 12


def noted(row: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    return {**row, "seed": torch.tensor(seed % 2**32)}


@pytest.mark.parametrize("kind", ["masked_lm", "sequence_classification"])
def test_the_parts_of_a_batch_add_up_to_its_loss_and_gradient(kind: str, tmp_path: Path) -> None:
    language = kind == "masked_lm"
    rows = (masked_rows if language else labelled_rows)(7)
    for short in rows[2:4]:
        short["attention_mask"][-3:] = 0  # padding, so that parts differ in tokens too
    model, teacher = ((language_model if language else classifier)(seed=seed).eval() for seed in (0, 1))
    for each in (model, teacher):
        each.set_attn_implementation("eager")
        each.config.output_hidden_states = each.config.output_attentions = True
    trainer = sparse_trainer(
        tmp_path,
        model,
        kind,
        rows,
        teacher=teacher,
        distillation=Distillation(hardness=0.5, temperature=2.0, hidden_states=1.0, attentions=1.0),
    )
    whole, found = stack(rows), []
    for parts in ([whole], [stack(rows[:2]), stack(rows[2:3]), stack(rows[3:])]):
        items = count_items(OBJECTIVES[kind], parts)
        assert items.tolist() == [int((whole["labels"] != -100).sum()), int(whole["attention_mask"].sum())]
        loss = torch.stack([trainer.compute_loss(model, part, num_items_in_batch=items) for part in parts])
        gradients = torch.autograd.grad(loss.sum(), list(model.parameters()), allow_unused=True)
        found.append((loss.sum(), gradients))
    alone = trainer.compute_loss(model, whole)
    torch.testing.assert_close(found[0][0], alone)
    torch.testing.assert_close(found[1][0], alone)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_batch_where_nothing_is_asked_for_has_a_loss_of_0(tmp_path: Path) -> None:
    rows = masked_rows(4)
    for row in rows:
        row["labels"].fill_(-100)
    model = language_model()
    before = model.state_dict()["cls.predictions.bias"].clone()
    sparse_trainer(tmp_path, model, "masked_lm", rows).train()
    assert torch.equal(model.state_dict()["cls.predictions.bias"], before)


def used(model: PreTrainedModel, kind: str, rows: list[dict[str, torch.Tensor]]) -> set[str]:
    outcome = OBJECTIVES[kind].predict(model, stack(rows))
    sum(each.logits.sum() for each in outcome.predictions).backward()
    return {name for name, weight in model.named_parameters() if weight.grad is None}


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_every_parameter_is_used_so_that_ddp_need_not_look(family: str) -> None:
    assert used(language_model(family), "masked_lm", masked_rows(2)) == set()


def test_ddp_need_not_look_where_nothing_is_masked() -> None:
    rows = masked_rows(2)
    for row in rows:
        row["labels"].fill_(-100)
    assert used(language_model(), "masked_lm", rows) == set()
    assert used(classifier(), "sequence_classification", labelled_rows(2)) == set()


@pytest.mark.parametrize("in_steps", [False, True])
def test_the_range_of_inputs_is_torchs_if_each_batch_is_whole(in_steps: bool) -> None:
    ours, torchs = InputObserver(averaging_constant=0.1), MovingAverageMinMaxObserver(averaging_constant=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        values = torch.randn(4, 3, generator=generator)
        if in_steps:
            ours.begin_step()
        ours(values)
        torchs(values)
        assert (ours.min_val, ours.max_val) == (torchs.min_val, torchs.max_val)


def test_the_range_of_inputs_does_not_depend_on_how_a_batch_is_split() -> None:
    generator = torch.Generator().manual_seed(0)
    whole = InputObserver(averaging_constant=0.1)
    parts = [InputObserver(averaging_constant=0.1) for _ in range(2)]
    for _ in range(4):
        batch = torch.randn(8, 3, generator=generator)
        whole.begin_step()
        whole(batch)
        for observer in parts:
            observer.begin_step()
        # Two processes, each with two parts: what one has seen reaches the other.
        for turn in range(2):
            shares = [batch[4 * process + 2 * turn :][:2] for process in range(2)]
            extremes = torch.stack([torch.stack([-each.min(), each.max()]) for each in shares]).amax(dim=0)
            for observer, share in zip(parts, shares, strict=True):
                observer.share = lambda _own, extremes=extremes: extremes
                observer(share)
        for observer in parts:
            assert (observer.min_val, observer.max_val) == (whole.min_val, whole.max_val)


@pytest.mark.parametrize(
    ("environment", "error", "words"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, LockError, "DeepSpeed's optimizers keep .* start it with DDP"),
        ({"ACCELERATE_USE_FSDP": "true"}, LockError, "FSDP1 flattens the weights.* fsdp_version 2"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"},
            RecipeError,
            "stage student: optimal_bert_surgeon samples gradients of whole weights",
        ),
    ],
)
def test_what_cannot_hold_a_pattern_is_refused_before_anything_is_written(
    environment: dict[str, str],
    error: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    recipe = tiny_recipe()
    pruned = recipe.stage("student")
    assert pruned.pruning is not None
    pruning = pruned.pruning.model_copy(update={"method": "optimal_bert_surgeon"})
    stages = [
        each.model_copy(update={"pruning": pruning}) if each.name == "student" else each
        for each in recipe.stages
    ]
    with pytest.raises(error, match=words):
        RecipeRun(recipe.model_copy(update={"stages": tuple(stages)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
