"""What every lock test shares: small models with their batches, optimizers, loops, and the contract."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import (
    Adafactor,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from sparsezoo_hub import PatternLock
from sparsezoo_hub.core import weight_lock

SPARSITY = 0.8
VOCABULARY = 60
BATCH = 4
LENGTH = 8
LEARNING_RATE = 0.01

HEADS: dict[str, type[PreTrainedModel]] = {
    "masked-lm": BertForMaskedLM,
    "sequence": BertForSequenceClassification,
    "token": BertForTokenClassification,
    "question": BertForQuestionAnswering,
}

Weights = Iterable[nn.Parameter]
OPTIMIZERS: dict[str, Callable[[Weights], Optimizer]] = {
    "adamw-foreach": lambda weights: torch.optim.AdamW(
        weights, LEARNING_RATE, weight_decay=0.1, foreach=True
    ),
    "adamw-fused": lambda weights: torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=0.1, fused=True),
    "sgd": lambda weights: torch.optim.SGD(weights, LEARNING_RATE, momentum=0.9, weight_decay=0.1),
    "adafactor": lambda weights: torch.optim.Adafactor(weights, LEARNING_RATE),
    "adafactor-transformers": lambda weights: Adafactor(
        weights, LEARNING_RATE, scale_parameter=False, relative_step=False, weight_decay=0.1
    ),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, LEARNING_RATE, momentum=0.9, weight_decay=0.1),
    "lbfgs": lambda weights: torch.optim.LBFGS(weights, LEARNING_RATE, max_iter=3),
}


def small_model(head: str = "masked-lm", **config: Any) -> PreTrainedModel:
    torch.manual_seed(3)
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "initializer_range": 0.2,
        "num_labels": 2,  # what question answering has
    }
    return HEADS[head](BertConfig(**{**settings, **config})).train()


def random_masks(model: nn.Module, sparsity: float = SPARSITY) -> dict[str, Tensor]:
    """Masks of every Linear weight in the layers; any pattern will do."""
    return {
        name: torch.rand(weight.shape) >= sparsity
        for name, weight in encoder(model).named_parameters()
        if ".layer." in name and name.endswith(".weight") and weight.ndim == 2
    }


def locked_model(head: str = "masked-lm", **config: Any) -> PreTrainedModel:
    model = small_model(head, **config)
    lock(model)
    return model


def lock(model: nn.Module) -> None:
    masks = random_masks(model)
    PatternLock.prune(model, masks)
    PatternLock.lock(model, masks)


def break_lock(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the hooks off a locked model that goes on saying it is locked."""
    for each in weight_lock.locks(model):
        each.unhook()
        monkeypatch.setattr(each, "follow", lambda: None)
    monkeypatch.setattr(weight_lock.WeightLock, "restore_zeros", lambda _lock: None)


def encoder(model: nn.Module) -> nn.Module:
    return model.base_model if isinstance(model, PreTrainedModel) else model


def examples(head: str, number: int = BATCH) -> list[dict[str, Tensor]]:
    ids = torch.randint(5, VOCABULARY, (number, LENGTH))
    labels = {
        "masked-lm": [{"labels": row} for row in ids],
        "sequence": [{"labels": row[0] % 2} for row in ids],
        "token": [{"labels": row % 2} for row in ids],
        "question": [{"start_positions": row[0] % 8, "end_positions": row[1] % 8} for row in ids],
    }[head]
    return [{"input_ids": row, **label} for row, label in zip(ids, labels, strict=True)]


def batch(head: str = "masked-lm") -> dict[str, Tensor]:
    rows = examples(head)
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


class Contract:
    """What a locked model promises, counted without the code under test.

    Args:
        model: locked, before the training; where it is zero now, it must be zero later.
    """

    def __init__(self, model: nn.Module) -> None:
        self.before = {
            name: weight.detach().float().clone()
            for name, weight in encoder(model).named_parameters()
            if ".layer." in name and name.endswith(".weight") and weight.ndim == 2
        }
        zeros = sum(int((weight == 0).sum()) for weight in self.before.values())
        total = sum(weight.numel() for weight in self.before.values())
        assert abs(zeros / total - SPARSITY) < 0.05, "the model was not pruned to begin with"

    def check(self, model: nn.Module) -> None:
        """Fail unless every zero is exactly 0.0 and kept weights of every locked weight moved."""
        self.check_zeros(model)
        found = self.findings(dict(encoder(model).named_parameters()))
        assert not found["still"], f"nothing moved in {found['still']}"
        assert found["moved"] > 0.6, "most kept weights did not move"

    def check_zeros(self, model: nn.Module) -> None:
        """Fail unless every zero is exactly 0.0."""
        revived = self.findings(dict(encoder(model).named_parameters()))["revived"]
        assert not revived, f"revived: {revived}"

    def findings(self, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return what ``weights``, by name in the encoder, broke and did.

        ``revived`` counts by name the zeros that are none, ``still`` names the weights in which nothing
        moved, ``moved`` is the fraction of all kept weights that did.
        """
        now = {name: weights[name].detach().float() for name in self.before}
        zeros = {name: weight == 0 for name, weight in self.before.items()}
        revived = {name: int((now[name][where] != 0).sum()) for name, where in zeros.items()}
        moved = {name: (now[name] != self.before[name])[~where] for name, where in zeros.items()}
        return {
            "revived": {name: count for name, count in revived.items() if count},
            "still": [name for name, each in moved.items() if not each.any()],
            "moved": float(torch.cat(list(moved.values())).float().mean()),
        }


def train_plain(model: nn.Module, optimizer: Optimizer, head: str = "masked-lm", steps: int = 3) -> None:
    for _ in range(steps):
        inputs = batch(head)

        def closure(inputs: dict[str, Tensor] = inputs) -> Tensor:
            optimizer.zero_grad()
            loss = model(**inputs).loss
            loss.backward()
            return loss

        step(optimizer, closure)


def step(optimizer: Optimizer, closure: Callable[[], Tensor]) -> None:
    """One step: LBFGS calls the closure by itself, the others find the gradient in place."""
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


def train_accelerate(model: nn.Module, optimizer: Optimizer, head: str = "masked-lm", steps: int = 3) -> None:
    from accelerate import Accelerator  # noqa: PLC0415  # slow to import, and only this loop needs it

    accelerator = Accelerator(cpu=True)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    for _ in range(steps):
        inputs = batch(head)

        def closure(inputs: dict[str, Tensor] = inputs) -> Tensor:
            optimizer.zero_grad()
            loss = prepared(**inputs).loss
            accelerator.backward(loss)
            return loss

        if isinstance(optimizer.optimizer, torch.optim.LBFGS):
            optimizer.step(closure)
        else:
            closure()
            accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
            optimizer.step()


def train_trainer(model: nn.Module, optimizer: Optimizer, head: str = "masked-lm", steps: int = 3) -> None:
    arguments = TrainingArguments(
        "unused-output",
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        lr_scheduler_type="constant",
    )
    Trainer(
        model, arguments, train_dataset=examples(head, steps * BATCH), optimizers=(optimizer, None)
    ).train()


LOOPS: dict[str, Callable[..., None]] = {
    "plain": train_plain,
    "accelerate": train_accelerate,
    "trainer": train_trainer,
}
