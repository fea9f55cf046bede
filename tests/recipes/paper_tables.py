"""The papers' tables of hyper-parameters, copied number by number."""

from typing import Any

# Prune Once for All, table 5: teacher preparation and student pruning.
PRUNE_OFA_TABLE_5 = {
    "warmup_ratio": 0.01,
    "batch_size": 256,
    "weight_decay": 0.01,
    "max_steps": 100_000,
    "sequence_length": 512,
    "lambda_pt": 0.5,
    "lambda_kd": 0.5,
    "temperature": 2.0,
    "pruning_start": 0,
    "pruning_policy_end": 50_000,
    "pruning_end": 80_000,
    "pruning_interval": 1_000,
}

# Prune Once for All, appendix E.2: learning rates of teacher preparation and of student pruning.
PRUNE_OFA_LEARNING_RATES = {
    "bert-base": (5e-5, 1.5e-4),
    "bert-large": (1e-4, 1e-4),
    "distilbert": (1e-4, 1.5e-4),
}

# Prune Once for All, table 6: transfer learning. Sets are what was searched.
PRUNE_OFA_TABLE_6: dict[str, Any] = {
    "squad": {
        "learning_rate": {1.5e-4, 1.8e-4},
        "batch_size": 12,
        "weight_decay": {0, 0.01},
        "epochs": {8},
        "warmup_ratio": {0, 0.01, 0.1},
        "sequence_length": 384,
        "lambda_pt": 0.0,
        "lambda_kd": 1.0,
        "temperature": 2.0,
    },
    "glue": {
        "learning_rate": {1e-4, 1.2e-4, 1.5e-5},
        "batch_size": 32,
        "weight_decay": {0, 0.01},
        "epochs": {3, 6, 9},
        "warmup_ratio": {0, 0.01, 0.1},
        "sequence_length": 128,
        "lambda_pt": 0.0,
        "lambda_kd": 1.0,
        "temperature": 2.0,
    },
}

# Prune Once for All, table 7: quantization-aware training. Sets are what was searched.
PRUNE_OFA_TABLE_7: dict[str, Any] = {
    "squad": {
        "learning_rate": {1e-6, 1e-5},
        "batch_size": 12,
        "weight_decay": {0, 0.01},
        "epochs": 2,
        "warmup_ratio": {0, 0.01, 0.1},
        "sequence_length": 384,
        "lambda_pt": 0.0,
        "lambda_kd": 1.0,
        "temperature": 2.0,
    },
    "glue": {
        "learning_rate": {5e-8, 1e-7, 1e-6, 1e-5},
        "batch_size": 32,
        "weight_decay": {0, 0.01},
        "epochs": 3,
        "warmup_ratio": {0, 0.01, 0.1},
        "sequence_length": 128,
        "lambda_pt": 0.0,
        "lambda_kd": 1.0,
        "temperature": 2.0,
    },
}

# oBERTa, table 18: zeros of the dense model and of the sparse ones, not quantized.
OBERTA_TABLE_18_DENSE_ZEROS = {"base": 1_539, "medium": 1_538, "small": 1_538}
OBERTA_TABLE_18_ZEROS = {
    "base-90": 76_442_738,
    "base-95": 80_689_466,
    "medium-90": 38_222_138,
    "small-90": 19_111_068,
}

# oBERTa, tables 20 and 21: epochs, batch size, learning rate, weight decay and warm-up of the task teachers.
OBERTA_TEACHERS: dict[str, dict[str, tuple[float | None, ...]]] = {
    "FacebookAI/roberta-base": {
        "squad": (3, 16, 1.00e-05, 0, 0),
        "squad-v2": (3, 16, 3.00e-05, 0, 0),
        "qqp": (5, 16, 2.00e-05, 0, 0),
        "mnli": (3, 16, 1.00e-05, 0, 0),
        "sst2": (3, 16, 2.00e-05, 0, 0),
        "conll2003": (3, 16, 3.00e-05, 0, 0),
        "imdb": (3, 16, 1.00e-05, 0, 0),
    },
    "FacebookAI/roberta-large": {
        "squad": (3, 16, 1.00e-05, 0, 0),
        "squad-v2": (3, 16, 1.00e-05, 0, 0),
        "qqp": (3, 16, 1.00e-05, 0, 0),
        "mnli": (3, 16, 1.00e-05, 0, 0),
        "sst2": (3, 16, 1.00e-05, 0, 0),
        "conll2003": (3, 16, 3.00e-05, 0, 0),
        "imdb": (3, 16, 1.00e-05, 0, 0),
    },
}

# oBERTa, table 22: upstream pruning.
OBERTA_TABLE_22: dict[str, Any] = {
    "epochs": 5,
    "batch_size": 256,
    "learning_rate": 5e-4,
    "rewind_every": 0.5,
    "sequence_length": 512,
    "weight_decay": 0.01,
    "hardness": 1.0,
    "temperature": 5.5,
    "masks_per_epoch": 100,
    "initial_sparsity": {12: 0.7, 6: 0.5, 3: 0.3},
}

# oBERTa, table 23: sparse transfer. Sets are what was searched.
OBERTA_TABLE_23: dict[str, Any] = {
    "epochs": 10,
    "learning_rate": {2.1e-4, 1.9e-4, 1.7e-4, 1.5e-4, 1.3e-4, 1.1e-4, 9e-5, 7e-5, 5e-5, 3e-5, 2e-5, 1e-5},
    "batch_size": 12,
    "weight_decay": {0.0, 0.01, 0.05, 0.1},
    "hardness": {1.0, 0.0},
    "temperature": 7.0,
    "teacher": {"FacebookAI/roberta-base", "FacebookAI/roberta-large"},
}

# oBERTa, table 24: sparse transfer with quantization, where it differs from table 23.
OBERTA_TABLE_24: dict[str, Any] = {
    "epochs": 20,
    "rewind_to": 5e-5,
    "quantized_from": 10,
    "frozen_from": 18,
    "embeddings_frozen_until": 10,
}

# oBERTa, table 25: the best learning rate for each model and task.
OBERTA_TABLE_25_TASKS = ("squad", "squad-v2", "mnli", "qqp", "imdb", "sst2", "conll2003")
OBERTA_TABLE_25 = {
    "roberta-base": (1.00e-05, 3.00e-05, 1.00e-05, 2.00e-05, 1.00e-05, 2.00e-05, 3.00e-05),
    "roberta-large": (1.00e-05, 1.00e-05, 1.00e-05, 1.00e-05, 1.00e-05, 1.00e-05, 3.00e-05),
    "oberta-base": (1.00e-05, 1.00e-05, 1.00e-05, 2.00e-05, 1.00e-05, 2.00e-05, 3.00e-05),
    "oberta-base-90": (1.50e-04, 1.50e-04, 7.00e-05, 1.70e-04, 1.30e-04, 9.00e-05, 1.50e-04),
    "oberta-base-95": (1.50e-04, 1.30e-04, 9.00e-05, 2.10e-04, 1.30e-04, 9.00e-05, 5.00e-05),
    "oberta-medium": (5.00e-05, 5.00e-05, 2.00e-05, 3.00e-05, 3.00e-05, 2.00e-05, 3.00e-05),
    "oberta-medium-90": (1.50e-04, 1.30e-04, 1.50e-04, 1.50e-04, 5.00e-05, 1.50e-04, 1.50e-04),
    "oberta-small": (1.50e-04, 1.50e-04, 3.00e-05, 5.00e-05, 3.00e-05, 5.00e-05, 3.00e-05),
    "oberta-small-90": (1.50e-04, 1.50e-04, 2.10e-04, 2.10e-04, 1.50e-04, 2.10e-04, 1.90e-04),
}

# oBERTa, tables 2 and 3: sparsities in percent.
OBERTA_DOWNSTREAM_SPARSITIES = (50, 60, 70, 80, 85, 90, 95)

# Prune Once for All, tables 1 and 3: the models and sparsities in percent of fine-tune pruning.
PRUNE_OFA_FINETUNE_PRUNED = (("bert-base", 85), ("distilbert", 85), ("distilbert", 90))

# Sparse*BERT, table 3: the biomedical tasks, and the sizes of their training sets.
SPARSE_BERT_TASKS = {
    "bc5cdr-disease": 4182,
    "bc5cdr-chem": 5203,
    "ncbi-disease": 5134,
    "bc2gm": 15197,
    "jnlpba": 46750,
    "chemprot": 18035,
    "ddi": 25296,
    "gad": 4261,
    "pubmedqa": 450,
    "bioasq": 670,
}
