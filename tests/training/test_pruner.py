import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from training_case import LANGUAGE_MODELS, language_model, masked_rows, sparse_trainer
from transformers import PreTrainedModel, TrainerCallback

from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.stage_settings import Pruning
from sparsezoo_hub.errors import TargetError
from sparsezoo_hub.training.pruner import Pruner

# Updates after steps 2, 5, 8, 11 and 12. Sparsity 0.9 - 0.6 * (1 - (t - 2) / 6)^3: 0.3, 0.825, then 0.9.
PRUNING = Pruning(initial_sparsity=0.3, final_sparsity=0.9, start=2, policy_end=8, end=12, interval=3)
# round(256 s) and round(384 s), of the 16 x 16 and the 16 x 24 weights.
ZEROS_AFTER = {2: (77, 115), 5: (211, 317), 8: (230, 346), 11: (230, 346), 12: (230, 346)}
SIZES = (256, 384)


class Recorder(TrainerCallback):
    """Where the encoder's weights are zero, after every step (0: before the first)."""

    def __init__(self) -> None:
        self.zeros: dict[int, dict[str, torch.Tensor]] = {}

    def _record(self, step: int, model: nn.Module) -> None:
        self.zeros[step] = {name: weight.detach() == 0 for name, weight in encoder_weights(model).items()}

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **kwargs: Any) -> None:
        self._record(state.global_step, kwargs["model"])

    def on_step_end(self, _args: Any, state: Any, _control: Any, **kwargs: Any) -> None:
        self._record(state.global_step, kwargs["model"])


def encoder_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Found here by name and shape, without the code under test."""
    return {
        name: weight
        for name, weight in model.named_parameters()
        if ".layer." in name and name.endswith(".weight") and weight.ndim == 2
    }


def without_zeros(model: PreTrainedModel) -> PreTrainedModel:
    """Biases and a padding row start at zero; here nothing does."""
    with torch.no_grad():
        for weight in model.parameters():
            weight[weight == 0] = 0.01
    return model


def trained(
    folder: Path, pruning: Pruning, steps: int = 14, kind: str = "bert"
) -> tuple[PreTrainedModel, Recorder]:
    model = without_zeros(language_model(kind))
    recorder = Recorder()
    callbacks = [Pruner(pruning, model), recorder]
    arguments = {"weight_decay": 0.1}
    sparse_trainer(
        folder, model, "masked_lm", masked_rows(40), steps=steps, callbacks=callbacks, arguments=arguments
    ).train()
    return model, recorder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Recorder]:
    return trained(tmp_path_factory.mktemp("pruned"), PRUNING)


def test_after_each_update_every_component_has_the_zeros_of_the_cubic_schedule(
    run: tuple[PreTrainedModel, Recorder],
) -> None:
    _, recorder = run
    expected = (0, 0)
    for step in range(15):
        expected = ZEROS_AFTER.get(step, expected)  # held between updates
        for name, zeros in recorder.zeros[step].items():
            assert int(zeros.sum()) == expected[SIZES.index(zeros.numel())], (step, name)


def test_what_is_pruned_never_comes_back(run: tuple[PreTrainedModel, Recorder]) -> None:
    _, recorder = run
    for step in range(1, 15):
        for name, zeros in recorder.zeros[step].items():
            assert zeros[recorder.zeros[step - 1][name]].all(), (step, name)


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_only_the_encoders_linear_weights_get_zeros(kind: str, tmp_path: Path) -> None:
    model, _ = trained(tmp_path, PRUNING, 12, kind)
    pruned = encoder_weights(model)
    assert len(pruned) == 12  # query, key, value, output and two of the feed-forward, in two layers
    for name, weight in model.named_parameters():
        zeros = int((weight == 0).sum())
        assert zeros == (round(0.9 * weight.numel()) if name in pruned else 0), name


def test_a_window_that_ends_with_the_last_step_is_finished_and_locked(tmp_path: Path) -> None:
    pruning = Pruning(initial_sparsity=0.3, final_sparsity=0.9, policy_end=5, end=5, interval=2)
    model, recorder = trained(tmp_path, pruning, steps=5)
    # Sparsity 0.9 - 0.6 * (1 - t / 5)^3 at 0, 2, 4 and 5: 0.3, 0.7704, 0.8952, 0.9.
    expected = {0: 77, 1: 77, 2: 197, 3: 197, 4: 229, 5: 230}
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert {step: int(zeros[name].sum()) for step, zeros in recorder.zeros.items()} == expected
    masks = PatternLock.masks(model)
    assert model.config.quantization_config["mask_digest"] == mask_digest(masks)
    assert {f"bert.{each}" for each in masks} == set(encoder_weights(model))
    for each, mask in masks.items():
        assert torch.equal(mask, encoder_weights(model)[f"bert.{each}"] != 0)


def test_the_first_masks_are_those_of_torch(tmp_path: Path) -> None:
    model = language_model()
    oracle = copy.deepcopy(model)
    pruner = Pruner(
        Pruning(initial_sparsity=0.37, final_sparsity=0.9, policy_end=5, end=5, interval=5), model
    )
    recorder = Recorder()
    trainer = sparse_trainer(tmp_path, model, "masked_lm", masked_rows(4), callbacks=[pruner, recorder])
    trainer.train()
    for name, zeros in recorder.zeros[0].items():
        module = oracle.get_submodule(name.removesuffix(".weight"))
        prune.l1_unstructured(module, "weight", amount=0.37)
        assert torch.equal(zeros, module.weight_mask == 0), name


def test_with_accumulated_gradients_an_update_comes_per_optimizer_step(tmp_path: Path) -> None:
    model = language_model()
    recorder = Recorder()
    sparse_trainer(
        tmp_path,
        model,
        "masked_lm",
        masked_rows(40),
        steps=5,
        callbacks=[Pruner(PRUNING, model), recorder],
        arguments={"gradient_accumulation_steps": 3},
    ).train()
    name = "bert.encoder.layer.1.attention.self.value.weight"
    assert {step: int(each[name].sum()) for step, each in recorder.zeros.items()} == {
        0: 0, 1: 0, 2: 77, 3: 77, 4: 77, 5: 211,
    }  # fmt: skip


def test_targets_and_ignore_choose_the_components(tmp_path: Path) -> None:
    pruning = PRUNING.model_copy(update={"targets": ("encoder.layer.1.*",), "ignore": ("*.query.weight",)})
    _, recorder = trained(tmp_path, pruning, steps=2)
    found = {name for name, zeros in recorder.zeros[2].items() if zeros.any()}
    assert len(found) == 5
    assert all("layer.1" in name and "query" not in name for name in found)


def test_a_target_that_matches_nothing_is_refused_before_anything_is_trained() -> None:
    model = language_model("bert")
    with pytest.raises(TargetError, match=r"transformer\.layer\.\*' matches none of the 12 Linear"):
        Pruner(PRUNING.model_copy(update={"targets": ("transformer.layer.*",)}), model)


def test_a_kept_weight_that_trained_to_zero_does_not_take_the_place_of_a_pruned_one() -> None:
    model = language_model()
    pruner = Pruner(PRUNING, model)
    pruner.update(2, model)
    name = "encoder.layer.0.attention.self.query.weight"
    before = pruner.masks[name]
    weight = pruner.modules[name].weight
    last_kept = int(before.flatten().nonzero().max())  # 78 zeros now, and the lower index wins a tie
    with torch.no_grad():
        weight.view(-1)[last_kept] = 0.0
    pruner.update(2, model)
    assert torch.equal(pruner.masks[name], before)
