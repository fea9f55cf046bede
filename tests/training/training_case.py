"""Small models, texts and trainers: what the tests of training train."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedModel,
    PrinterCallback,
    RobertaConfig,
    RobertaForMaskedLM,
    TrainerCallback,
    TrainingArguments,
)

from sparsezoo_hub.training.objectives import OBJECTIVES
from sparsezoo_hub.training.trainer import SparseTrainer

VOCABULARY = 120
LENGTH = 12

_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
}
_DISTILBERT = {
    "vocab_size": VOCABULARY,
    "dim": 16,
    "hidden_dim": 24,
    "n_layers": 2,
    "n_heads": 2,
    "max_position_embeddings": 40,
    "initializer_range": 0.2,
}
_STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LANGUAGE_MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertForMaskedLM(BertConfig(**_BERT)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**_BERT, pad_token_id=1)),
    "distilbert": lambda: DistilBertForMaskedLM(DistilBertConfig(**_DISTILBERT)),
}


def language_model(kind: str = "bert", seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return LANGUAGE_MODELS[kind]()


def classifier(seed: int = 0, dropout: bool = False) -> PreTrainedModel:
    torch.manual_seed(seed)
    return BertForSequenceClassification(
        BertConfig(**_BERT, num_labels=3, **({} if dropout else _STILL)),
    )


def masked_rows(num_rows: int, length: int = LENGTH, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """Rows of random tokens, each with a different number of labels."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for row in range(num_rows):
        ids = torch.randint(5, VOCABULARY, (length,), generator=generator)
        asked = torch.randperm(length, generator=generator)[: 1 + row % 4]
        labels = torch.full((length,), -100)
        labels[asked] = ids[asked]
        rows.append(
            {
                "input_ids": ids.index_fill(0, asked, 4),
                "attention_mask": torch.ones(length, dtype=torch.long),
                "labels": labels,
            }
        )
    return rows


def labelled_rows(num_rows: int, length: int = LENGTH, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "input_ids": torch.randint(5, VOCABULARY, (length,), generator=generator),
            "attention_mask": torch.ones(length, dtype=torch.long),
            "labels": torch.tensor(row % 3),
        }
        for row in range(num_rows)
    ]


def stack(rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def sparse_trainer(
    folder: Path,
    model: PreTrainedModel,
    kind: str,
    rows: Sequence[dict[str, torch.Tensor]],
    *,
    steps: int = 1,
    batch_size: int = 4,
    callbacks: Sequence[TrainerCallback] = (),
    factor: Callable[[int], float] = lambda _step: 1.0,
    arguments: dict[str, Any] | None = None,
    **ours: Any,
) -> SparseTrainer:
    trainer = SparseTrainer(
        objective=OBJECTIVES[kind],
        learning_rate_factor=factor,
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=0.01,
            logging_steps=1000,
            disable_tqdm=True,
            report_to=[],
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            **{"save_strategy": "no", **(arguments or {})},
        ),
        train_dataset=list(rows),
        data_collator=stack,
        callbacks=list(callbacks),
        **ours,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
