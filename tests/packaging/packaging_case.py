"""Small models, their tokenizer, a recipe: what the tests of packaging package."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.recipe_text import parse_recipe
from sparsezoo_hub.packaging.manifest import (
    MaskedLMLoss,
    Measurements,
    TaskResult,
    hash_file,
    read_manifest,
    write_manifest,
)
from sparsezoo_hub.packaging.package import PackageContents

SPARSITY = 0.9
VOCABULARY = 120
TEXTS = (
    "The cat sat.",
    "A dog that barks at night keeps the whole street awake until the sun comes up.",
    "Rain.",
    "She read the letter twice, put it back, and went out without a word to anybody in the house.",
    "Numbers are not words, and words are not numbers.",
    "Every good boy does fine.",
    "He counted the zeros and found that none of them was missing, which pleased him very much indeed.",
    "Yes, of course!",
    "The library lends books to readers; readers bring them back.",
)

RECIPE = """
format: 1
name: tiny-90
summary: A tiny BERT for tests.
parents: {backbone: {model_type: bert, vocab_size: 200, config: {hidden_size: 32, num_hidden_layers: 2}}}
corpora: {text: {description: some English}}
stages:
  - name: teacher
    model: backbone
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 40
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
  - name: student
    model: teacher
    teacher: teacher
    distillation: {hardness: 0.5, temperature: 2.0}
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 30
    batch_size: 8
    learning_rate: {peak: 5.0e-4, schedule: rewinding, warmup_ratio: 0.1}
    pruning: {final_sparsity: 0.9, initial_sparsity: 0.3, policy_end: 15, end: 24, interval: 2}
  - name: upstream-pruned
    model: student
    objective: {kind: sequence_classification}
    data: parts
    max_length: 32
    steps: 10
    batch_size: 8
    learning_rate: {peak: 1.0e-4}
    lock: true
package: student
"""

DENSE_RECIPE = """
format: 1
name: tiny-dense
summary: A tiny dense model for tests.
parents: {backbone: {model_type: bert, pretrained: some-org/some-bert}}
corpora: {text: {description: some English}}
stages:
  - name: sparse
    model: backbone
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 30
    batch_size: 8
    learning_rate: {peak: 5.0e-4}
    pruning: {final_sparsity: 0.9, end: 24, interval: 2}
  - name: dense
    model: backbone
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 40
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
  - name: locked
    model: sparse
    objective: {kind: masked_lm}
    data: text
    max_length: 32
    steps: 10
    batch_size: 8
    learning_rate: {peak: 1.0e-3}
    lock: true
package: dense
"""

_SMALL = {"vocab_size": VOCABULARY, "max_position_embeddings": 64, "initializer_range": 0.2}
_BERT = {
    **_SMALL,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
_DISTILBERT = {**_SMALL, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2}

MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert-mlm": lambda: BertForMaskedLM(BertConfig(**_BERT)),
    "bert-pretraining": lambda: BertForPreTraining(BertConfig(**_BERT)),
    "bert-answerer": lambda: BertForQuestionAnswering(BertConfig(**_BERT)),
    "bert-classifier": lambda: BertForSequenceClassification(BertConfig(**_BERT, num_labels=4)),
    "roberta-mlm": lambda: RobertaForMaskedLM(RobertaConfig(**_BERT)),
    "roberta-classifier": lambda: RobertaForSequenceClassification(RobertaConfig(**_BERT, type_vocab_size=1)),
    "roberta-tagger": lambda: RobertaForTokenClassification(
        RobertaConfig(**_BERT, type_vocab_size=1, num_labels=5)
    ),
    "distilbert-mlm": lambda: DistilBertForMaskedLM(DistilBertConfig(**_DISTILBERT)),
    "distilbert-classifier": lambda: DistilBertForSequenceClassification(DistilBertConfig(**_DISTILBERT)),
    "distilbert-answerer": lambda: DistilBertForQuestionAnswering(DistilBertConfig(**_DISTILBERT)),
}


def magnitude_masks(model: PreTrainedModel, sparsity: float = SPARSITY) -> dict[str, Tensor]:
    """Masks of every Linear weight in the layers, by sorting, without the package's own code."""
    masks = {}
    for name, weight in model.base_model.named_parameters():
        if ".layer." in name and name.endswith(".weight") and weight.ndim == 2:
            zeros = round(weight.numel() * sparsity)
            order = weight.detach().abs().flatten().argsort()
            mask = torch.ones(weight.numel(), dtype=torch.bool)
            mask[order[:zeros]] = False
            masks[name] = mask.view(weight.shape)
    return masks


def dense_model(kind: str = "bert-mlm") -> PreTrainedModel:
    torch.manual_seed(7)
    return MODELS[kind]()


def locked_model(kind: str = "bert-mlm") -> PreTrainedModel:
    model = dense_model(kind)
    PatternLock.prune(model, magnitude_masks(model))
    return model


def wordpiece_tokenizer(*, segments: bool = False) -> PreTrainedTokenizerFast:
    # Not trained: of pieces that are equally frequent, training takes others in every process.
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    whole = sorted(set(re.findall(r"\w+|[^\w\s]", " ".join(TEXTS).lower())))
    letters = sorted(set("".join(whole)))
    pieces = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *whole])
    vocabulary = {piece: index for index, piece in enumerate([*pieces][:VOCABULARY])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special[1]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True)),
        model_max_length=64,
        model_input_names=["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"],
    )


def tiny_recipe() -> Recipe:
    return parse_recipe(RECIPE, "recipe.yaml")


def tiny_measurements() -> Measurements:
    return Measurements(
        mlm=MaskedLMLoss(teacher=2.5, student=2.75),
        results=(
            TaskResult(
                task="text-classification",
                dataset="parts",
                metric="accuracy",
                mean=0.8125,
                std=0.0125,
                seeds=(0, 1, 2),
            ),
            TaskResult(
                task="text-classification",
                dataset="parts",
                metric="accuracy",
                mean=0.9,
                std=0.0,
                seeds=(0,),
                label="dense",
            ),
        ),
        train_seconds=12.5,
        hardware="2 cores",
    )


def tiny_contents() -> PackageContents:
    return PackageContents(
        model=locked_model(),
        tokenizer=wordpiece_tokenizer(),
        recipe=tiny_recipe(),
        texts=TEXTS,
        measurements=tiny_measurements(),
        base_model="some-org/some-bert",
        license_id="apache-2.0",
        repo_id="local/tiny-90",
    )


def dense_contents(kind: str = "roberta-mlm") -> PackageContents:
    return replace(
        tiny_contents(),
        model=dense_model(kind),
        recipe=parse_recipe(DENSE_RECIPE, "recipe.yaml"),
        repo_id="local/tiny-dense",
    )


def rehashed(folder: Path, **changes: object) -> None:
    """Make the manifest fit whatever the files are now, as a forger would."""
    manifest = read_manifest(folder / "manifest.json")
    files = {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    write_manifest(folder / "manifest.json", manifest.model_copy(update={"files": files, **changes}))
