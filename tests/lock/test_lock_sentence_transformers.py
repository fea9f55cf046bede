"""sentence-transformers trains a locked encoder: a plain loop and its own Trainer."""

from pathlib import Path

import pytest
import torch
from lock_case import OPTIMIZERS
from packaging_case import TEXTS, locked_model, wordpiece_tokenizer
from torch import nn

from sparsezoo_hub import PatternLock, is_locked
from sparsezoo_hub.core.masks import mask_digest

sentence_transformers = pytest.importorskip("sentence_transformers")
losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    model = locked_model()
    PatternLock.lock(model, PatternLock.masks(model))
    model.save_pretrained(tmp_path / "encoder")
    wordpiece_tokenizer().save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def sentence_model(stored: Path) -> nn.Module:
    return sentence_transformers.SentenceTransformer(str(stored), device="cpu")


def layer_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: weight.detach().clone()
        for name, weight in model.named_parameters()
        if ".layer." in name and name.endswith(".weight") and weight.ndim == 2
    }


def check(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    now = layer_weights(model)
    for name, old in before.items():
        assert not now[name][old == 0].any(), name
        assert (now[name] != old).any(), name


def test_a_locked_encoder_stays_locked_in_a_plain_loop(stored: Path) -> None:
    model = sentence_model(stored).train()
    assert is_locked(model)
    before = layer_weights(model)
    optimizer = OPTIMIZERS["adamw-foreach"](model.parameters())
    for _ in range(3):
        embeddings = model(model.tokenize(list(TEXTS)))["sentence_embedding"]
        (embeddings @ embeddings.T).softmax(-1).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    check(model, before)


def test_its_own_trainer_keeps_the_zeros_and_its_saved_model_locks_again(
    stored: Path, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    model = sentence_model(stored)
    before = layer_weights(model)
    pairs = datasets.Dataset.from_dict({"anchor": list(TEXTS), "positive": list(reversed(TEXTS))})
    arguments = sentence_transformers.SentenceTransformerTrainingArguments(
        str(tmp_path / "out"),
        max_steps=3,
        learning_rate=0.01,
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    loss = losses.MultipleNegativesRankingLoss(model)
    sentence_transformers.SentenceTransformerTrainer(model, arguments, pairs, loss=loss).train()
    check(model, before)
    model.save(str(tmp_path / "saved"))
    again = sentence_model(tmp_path / "saved")
    assert mask_digest(PatternLock.masks(again)) == mask_digest(PatternLock.masks(model))
