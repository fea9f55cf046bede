"""A recipe of seconds, its text, and a look at what it leaves on the disk."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file

from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.training.python_documentation import read_topics

TINY_BERT = """
parents:
  backbone:
    model_type: bert
    vocab_size: 220
    config:
      {hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24,
       max_position_embeddings: 32}
"""
_STAGES = f"""
format: 1
name: tiny-90
summary: A tiny BERT for tests.
{TINY_BERT}"""
_STAGES += """
corpora:
  text: {description: some English, source: python_documentation}
stages:
  - name: teacher
    model: backbone
    objective: {kind: masked_lm}
    data: text
    max_length: 16
    steps: 12
    batch_size: 8
    learning_rate: {peak: 2.0e-3}
  - name: student
    model: teacher
    teacher: teacher
    distillation: {hardness: 0.5, temperature: 2.0}
    objective: {kind: masked_lm}
    data: text
    max_length: 16
    steps: 12
    batch_size: 8
    learning_rate: {peak: 1.0e-3, schedule: rewinding, warmup_ratio: 0.1}
    weight_decay: 0.01
    pruning: {initial_sparsity: 0.3, final_sparsity: 0.9, policy_end: 6, end: 9, interval: 2}
"""
_TRANSFER = """
  - name: task-teacher
    model: teacher
    objective: {kind: sequence_classification}
    data: python-documentation-parts
    max_length: 16
    steps: 4
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
  - name: transferred
    model: student
    teacher: task-teacher
    distillation: {hardness: 1.0, temperature: 2.0}
    objective: {kind: sequence_classification}
    data: python-documentation-parts
    max_length: 16
    steps: 6
    batch_size: 8
    learning_rate: {peak: 1.0e-2}
    weight_decay: 0.1
    seeds: [0, 1]
    lock: true
"""
SHORT_RECIPE = f"{_STAGES}\npackage: student\n"
RECIPE = f"{_STAGES}{_TRANSFER}\npackage: student\n"
STAGES = ("teacher", "student", "task-teacher", "transferred")

# 16 x 16 and 16 x 24 weights at 0.9: round(230.4) and round(345.6); four and two to a layer, two layers.
ZEROS_OF = {256: 230, 384: 346}
NUM_LOCKED = 2 * (4 * 230 + 2 * 346)
NUM_WEIGHTS = 2 * (4 * 256 + 2 * 384)

# No network, one thread per process, so that numbers do not depend on how many cores are free.
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def tiny_recipe(text: str = RECIPE) -> Recipe:
    return parse_recipe(text, "tiny.yaml")


def write_texts(folder: Path) -> list[Path]:
    """Two real text files, together enough for a vocabulary of 220 and some thousand rows."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "one.txt", folder / "two.jsonl"]
    topics = [topic.text[:1500] for topic in read_topics()]
    paths[0].write_text(topics[0])
    paths[1].write_text("\n".join(json.dumps({"text": text}) for text in topics[1:50]))
    return paths


def encoder_zeros(folder: Path) -> dict[str, torch.Tensor]:
    """Where the encoder's weights are zero in the file, by name relative to the base model."""
    return {
        name.removeprefix("bert."): weight == 0
        for name, weight in load_file(folder / "model.safetensors").items()
        if ".layer." in name and name.endswith(".weight") and weight.ndim == 2
    }


def zeros_outside(folder: Path) -> int:
    """Zeros in what is never pruned; biases start at zero and padding's embedding stays there."""
    weights = load_file(folder / "model.safetensors")
    encoder = {f"bert.{name}" for name in encoder_zeros(folder)}
    embeddings = "bert.embeddings.word_embeddings.weight"
    return sum(
        int((weight[1:] == 0).sum() if name == embeddings else (weight == 0).sum())
        for name, weight in weights.items()
        if name not in encoder and not name.endswith("bias")
    )


def weights_are_equal(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def written(folder: Path) -> dict[str, int]:
    """When each of a run's files was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
