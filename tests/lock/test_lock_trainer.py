"""transformers.Trainer with each of its switches trains a locked model and keeps every zero."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lock_case import BATCH, Contract, break_lock, examples, locked_model
from torch import nn
from transformers import BertForMaskedLM, Trainer, TrainingArguments

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest
from sparsezoo_hub.errors import LockError

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "bf16": {"bf16": True},
    "gradient-accumulation": {"gradient_accumulation_steps": 3},
    "gradient-checkpointing": {
        "activation_checkpointing": True,  # the new name of gradient_checkpointing
        "activation_checkpointing_kwargs": {"use_reentrant": False},
    },
    "reentrant-checkpointing": {
        "activation_checkpointing": True,
        "activation_checkpointing_kwargs": {"use_reentrant": True},
    },
    "label-smoothing": {"label_smoothing_factor": 0.1},
    "max-grad-norm": {"max_grad_norm": 0.01},
    "adafactor": {"optim": "adafactor"},
    "fused": {"optim": "adamw_torch_fused"},
    "compiled": {"torch_compile": True, "torch_compile_backend": "aot_eager"},
}


@pytest.fixture(autouse=True)
def _forget_compiled_code() -> Iterator[None]:
    yield
    torch.compiler.reset()


def trainer(model: nn.Module, folder: Path, head: str = "masked-lm", **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "max_steps": 3,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": BATCH,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    arguments = TrainingArguments(str(folder), **{**settings, **changes})
    rows = examples(head, 3 * BATCH)
    return Trainer(model, arguments, train_dataset=rows, eval_dataset=rows[:BATCH])


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_keeps_the_zeros(variant: str, tmp_path: Path) -> None:
    model = locked_model()
    contract = Contract(model)
    trainer(model, tmp_path, **VARIANTS[variant]).train()
    contract.check(model)
    assert PatternLock.verify(model) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_with_a_broken_lock_fails_the_contract(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = locked_model()
    contract = Contract(model)
    break_lock(model, monkeypatch)
    trainer(model, tmp_path, **VARIANTS[variant]).train()
    with pytest.raises(AssertionError, match="revived"):
        contract.check(model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # inductor's own imports
@pytest.mark.parametrize("head", ["masked-lm", "question"])
def test_the_default_compiler_keeps_the_zeros(head: str, tmp_path: Path) -> None:
    model = locked_model(head)
    contract = Contract(model)
    trainer(model, tmp_path, head, torch_compile=True).train()
    contract.check(model)


def test_training_resumed_from_a_checkpoint_holds_the_same_masks(tmp_path: Path) -> None:
    model = locked_model()
    contract = Contract(model)
    digest = mask_digest(PatternLock.masks(model))
    trainer(model, tmp_path, save_strategy="steps", save_steps=2).train()

    resumed = BertForMaskedLM.from_pretrained(tmp_path / "checkpoint-2")
    assert mask_digest(PatternLock.masks(resumed)) == digest
    trainer(resumed, tmp_path, max_steps=5).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    contract.check(resumed)
    assert mask_digest(PatternLock.masks(resumed)) == digest


def test_a_dense_checkpoint_is_not_resumed_into_a_locked_model(tmp_path: Path) -> None:
    dense = locked_model()
    PatternLock.unlock(dense)
    trainer(dense, tmp_path, save_strategy="steps", save_steps=2).train()
    with pytest.raises(LockError, match=r"layer\.0\.\S+\.weight: the state dict .* nonzero values"):
        trainer(locked_model(), tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_the_best_checkpoint_loaded_at_the_end_is_locked(tmp_path: Path) -> None:
    model = locked_model()
    contract = Contract(model)
    digest = mask_digest(PatternLock.masks(model))
    done = trainer(
        model,
        tmp_path,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
    )
    done.train()
    assert done.state.best_model_checkpoint is not None
    contract.check(done.model)
    assert is_locked(done.model)
    done.save_model(str(tmp_path / "best"))
    assert mask_digest(PatternLock.masks(BertForMaskedLM.from_pretrained(tmp_path / "best"))) == digest
