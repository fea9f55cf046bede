"""Saved, in one file or many, and loaded again by stock transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lock_case import HEADS, OPTIMIZERS, Contract, locked_model, train_plain
from packaging_case import locked_model as packaged_model
from packaging_case import wordpiece_tokenizer
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    pipeline,
)

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest

LOADERS = {
    "masked-lm": AutoModelForMaskedLM,
    "sequence": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
    "question": AutoModelForQuestionAnswering,
}
SAVES: dict[str, dict[str, Any]] = {
    "one-file": {},
    "sharded": {"max_shard_size": "10KB"},
}
LOADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "device-map-auto": {"device_map": "auto"},
    "device-map-cpu": {"device_map": "cpu"},
    "low-memory": {"low_cpu_mem_usage": True},
    "bfloat16": {"dtype": torch.bfloat16},
}
adamw = OPTIMIZERS["adamw-foreach"]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("save", SAVES)
def test_a_saved_model_locks_again_and_trains(save: str, load: str, tmp_path: Path) -> None:
    model = locked_model()
    digest = mask_digest(PatternLock.masks(model))
    train_plain(model, adamw(model.parameters()), steps=1)
    model.save_pretrained(tmp_path, **SAVES[save])
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (save == "sharded")
    again = AutoModelForMaskedLM.from_pretrained(tmp_path, **LOADS[load]).train()
    assert mask_digest(PatternLock.masks(again)) == digest
    contract = Contract(again)
    train_plain(again, adamw(again.parameters()))
    contract.check(again)


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("head", HEADS)
def test_each_head_loads_what_each_head_saved(head: str, save: str, tmp_path: Path) -> None:
    model = locked_model(head)
    model.save_pretrained(tmp_path, **SAVES[save])
    for other, loader in LOADERS.items():
        again = loader.from_pretrained(tmp_path).train()
        contract = Contract(again)
        assert mask_digest(PatternLock.masks(again)) == mask_digest(PatternLock.masks(model))
        train_plain(again, adamw(again.parameters()), other)
        contract.check(again)


def test_a_model_saved_with_a_state_dict_of_its_own_locks_again(tmp_path: Path) -> None:
    """As Trainer and Accelerate save what they gathered."""
    model = locked_model()
    model.save_pretrained(tmp_path, state_dict=model.state_dict())
    again = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert mask_digest(PatternLock.masks(again)) == mask_digest(PatternLock.masks(model))


def test_an_unlocked_model_is_saved_without_the_promise(tmp_path: Path) -> None:
    model = locked_model()
    PatternLock.unlock(model)
    train_plain(model, adamw(model.parameters()))
    model.save_pretrained(tmp_path)
    assert not is_locked(AutoModelForMaskedLM.from_pretrained(tmp_path))


def test_a_pipeline_runs_on_a_locked_model_and_leaves_it_locked() -> None:
    model = packaged_model()
    digest = mask_digest(PatternLock.masks(model))
    fill = pipeline("fill-mask", model=model, tokenizer=wordpiece_tokenizer(), device="cpu")
    answers = fill("The [MASK] sat.", top_k=2)
    assert len(answers) == 2
    assert all(0 < answer["score"] < 1 for answer in answers)
    assert mask_digest(PatternLock.masks(fill.model)) == digest


def test_a_pipeline_loads_a_stored_model_locked(tmp_path: Path) -> None:
    model = packaged_model()
    PatternLock.lock(model, PatternLock.masks(model))
    model.save_pretrained(tmp_path)
    wordpiece_tokenizer().save_pretrained(tmp_path)
    fill = pipeline("fill-mask", model=str(tmp_path), device="cpu")
    assert mask_digest(PatternLock.masks(fill.model)) == mask_digest(PatternLock.masks(model))
    assert len(fill("The [MASK] sat.", top_k=3)) == 3


def hide_some(model: Any) -> tuple[str, torch.Tensor]:
    """Set kept entries of one weight to 0.0, or so near that half precision makes 0.0 of them."""
    name = "encoder.layer.0.attention.self.query.weight"
    kept = PatternLock.masks(model)[name].nonzero()[:3]
    weight = model.base_model.get_parameter(name)
    with torch.no_grad():
        for place, value in zip(kept.tolist(), (0.0, 1e-9, -1e-12), strict=True):
            weight[tuple(place)] = value
    return name, kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("saved_as", [torch.float32, torch.float16, torch.bfloat16])
def test_kept_weights_that_became_zero_are_none_of_the_zeros_of_what_is_saved(
    saved_as: torch.dtype, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = locked_model()
    digest = mask_digest(PatternLock.masks(model))
    name, kept = hide_some(model)
    before = model.base_model.get_parameter(name).detach().clone()
    model.to(saved_as).save_pretrained(tmp_path)  # no masks beside it
    again = AutoModelForMaskedLM.from_pretrained(tmp_path, dtype=dtype)
    assert mask_digest(PatternLock.masks(again)) == digest
    loaded = again.base_model.get_parameter(name).detach()
    assert all(abs(float(loaded[tuple(place)])) == 2**-24 for place in kept.tolist())
    if saved_as == dtype == torch.float32:  # nothing else was touched
        changed = (loaded != before).nonzero()
        assert torch.equal(changed, kept)


def test_a_state_dict_of_a_model_that_was_unlocked_is_left_as_it_is() -> None:
    model = locked_model()
    name, kept = hide_some(model)
    PatternLock.unlock(model)
    assert float(model.base_model.state_dict()[name][tuple(kept[0].tolist())]) == 0.0
