"""Every pruning method, structure and scope keeps the same promises while a model is trained."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from training_case import language_model, masked_rows, sparse_trainer, stack
from transformers import PreTrainedModel, TrainerCallback

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.pruning_methods import METHODS
from sparsezoo_hub.core.selection import SCOPES
from sparsezoo_hub.core.stage_settings import Fisher, Pruning
from sparsezoo_hub.errors import TargetError
from sparsezoo_hub.training.gradient_samples import sample_gradients
from sparsezoo_hub.training.pruner import Pruner

STRUCTURES = {"unstructured": 0.9, "2:4": 0.5, "1x4": 0.75, "1:3": 2 / 3}
CASES = [*product(METHODS, STRUCTURES, SCOPES)]


class Watch(TrainerCallback):
    """Whether a weight that was pruned is ever another than 0.0 again."""

    def __init__(self) -> None:
        self.gone: dict[str, torch.Tensor] = {}
        self.came_back = 0

    def on_step_end(self, _args: Any, _state: Any, _control: Any, **kwargs: Any) -> None:
        for name, weight in kwargs["model"].named_parameters():
            if ".layer." in name and weight.ndim == 2:
                zero = weight.detach() == 0
                self.came_back += int((self.gone.get(name, torch.zeros_like(zero)) & ~zero).sum())
                self.gone[name] = zero


def settings(method: str, structure: str, scope: str) -> Pruning:
    fisher = Fisher(block_size=12, num_gradients=6, recomputations=2, batch_size=3)
    return Pruning(
        method=method,
        structure=structure,
        scope=scope,
        final_sparsity=STRUCTURES[structure],
        # 24 inputs are a multiple of 3, 16 are not.
        targets=("encoder.layer.?.output.dense.weight",) if structure == "1:3" else ("encoder",),
        start=1,
        policy_end=5,
        end=7,
        interval=2,
        fisher=fisher if method == "optimal_bert_surgeon" else None,
    )


def pruned(folder: Path, pruning: Pruning, seed: int = 0) -> tuple[PreTrainedModel, Watch, Pruner]:
    model = language_model(seed=seed)
    rows = masked_rows(40)
    pruner, watch = Pruner(pruning, model), Watch()
    trainer = sparse_trainer(
        folder,
        model,
        "masked_lm",
        rows,
        steps=9,
        callbacks=[pruner, watch],
        arguments={"weight_decay": 0.1},
    )
    pruner.gradients = lambda update: sample_gradients(
        model, pruner.modules, trainer.compute_loss, rows, None, stack, 3, update
    )
    trainer.train()
    return model, watch, pruner


@pytest.mark.parametrize(("method", "structure", "scope"), CASES)
def test_the_sparsity_is_reached_held_and_of_the_structure(
    method: str, structure: str, scope: str, tmp_path: Path
) -> None:
    model, watch, _ = pruned(tmp_path, settings(method, structure, scope))
    masks = PatternLock.masks(model)
    block = 4 if structure == "1x4" else 1
    groups = [[mask] for mask in masks.values()] if scope == "uniform" else [list(masks.values())]
    for group in groups:
        numel = sum(mask.numel() for mask in group)
        expected = round(numel // block * STRUCTURES[structure]) * block
        assert sum(int((~mask).sum()) for mask in group) == expected
    for mask in masks.values():
        if structure == "1x4":
            assert set(mask.view(-1, 4).sum(1).tolist()) <= {0, 4}
        if ":" in structure:
            kept, of = (int(each) for each in structure.split(":"))
            assert set(mask.view(-1, of).sum(1).tolist()) == {kept}
    assert watch.came_back == 0
    assert PatternLock.revived(model) == 0
    for name, mask in masks.items():
        assert not model.base_model.get_parameter(name)[~mask].any()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_weights(method: str, tmp_path: Path) -> None:
    run = partial(pruned, tmp_path, settings(method, "unstructured", "uniform"))
    (one, _, _), (other, _, _) = run(), run()
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)


def test_methods_choose_different_weights(tmp_path: Path) -> None:
    digests = {
        method: torch.cat(
            [
                mask.flatten()
                for mask in PatternLock.masks(
                    pruned(tmp_path, settings(method, "unstructured", "uniform"))[0]
                ).values()
            ]
        )
        for method in METHODS
    }
    names = list(METHODS)
    for one, other in zip(names, names[1:] + names[:1], strict=True):
        assert not torch.equal(digests[one], digests[other])


def test_each_target_gets_its_own_sparsity(tmp_path: Path) -> None:
    pruning = Pruning(
        targets={"encoder.layer.0.*": 0.5, "encoder.layer.1.*": 0.75}, start=1, end=5, interval=1
    )
    model, _, _ = pruned(tmp_path, pruning)
    for name, mask in PatternLock.masks(model).items():
        share = 0.5 if ".0." in name else 0.75
        assert int((~mask).sum()) == round(mask.numel() * share)


def test_targets_that_overlap_with_different_sparsities_are_refused() -> None:
    pruning = Pruning(targets={"encoder": 0.5, "encoder.layer.1.*": 0.75}, start=1, end=5, interval=1)
    with pytest.raises(TargetError, match=r"want sparsities of 0\.5 and 0\.75 of encoder\.layer\.1"):
        Pruner(pruning, language_model())


@pytest.mark.parametrize("schedule", ["one_shot", "constant"])
def test_a_schedule_that_jumps_prunes_once(schedule: str, tmp_path: Path) -> None:
    pruning = Pruning(schedule=schedule, final_sparsity=0.5, start=3)
    model, watch, _ = pruned(tmp_path, pruning)
    assert watch.came_back == 0
    assert all(int((~mask).sum()) == mask.numel() // 2 for mask in PatternLock.masks(model).values())


def test_sampled_gradients_are_of_the_loss_in_evaluation_mode_and_leave_no_trace(tmp_path: Path) -> None:
    model = language_model()
    rows = masked_rows(8)
    trainer = sparse_trainer(tmp_path, model, "masked_lm", rows)
    modules = Pruner(settings("magnitude", "unstructured", "uniform"), model).modules
    model.train()
    state = torch.random.get_rng_state()
    source = sample_gradients(
        model, modules, trainer.compute_loss, rows, None, lambda _: stack(rows), 3, seed=5
    )
    gradients = next(source)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())

    model.eval()
    batch = stack(rows)
    model(**batch).loss.backward()  # transformers' own loss
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, model.base_model.get_parameter(name).grad, msg=name)
