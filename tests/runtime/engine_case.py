"""Small encoders of every architecture, pruned, and what transformers itself makes of them."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForTokenClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.runtime import engine

VOCABULARY = 90
INSTRUCTIONS = engine.instruction_sets()
# Those that round to bfloat16 where they may.
MULTIPLIES_BFLOATS = ("avx512_bf16",)


def bert_config(**changes: object) -> BertConfig:
    settings = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 104,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 260,
    }
    return BertConfig(**{**settings, **changes})


def roberta_config() -> RobertaConfig:
    return RobertaConfig(**{**bert_config().to_diff_dict(), "model_type": "roberta", "pad_token_id": 1})


def distilbert_config() -> DistilBertConfig:
    return DistilBertConfig(dim=36, n_layers=3, n_heads=6, hidden_dim=72, vocab_size=VOCABULARY)


MODELS = {
    "bert with a language model's head": lambda: BertForMaskedLM(bert_config()),
    "bert with a classifier": lambda: BertForSequenceClassification(bert_config()),
    "bert without a head": lambda: BertModel(bert_config(hidden_act="relu")),
    "bert with the other gelu": lambda: BertModel(bert_config(hidden_act="gelu_new")),
    "roberta that answers questions": lambda: RobertaForQuestionAnswering(roberta_config()),
    "distilbert that labels tokens": lambda: DistilBertForTokenClassification(distilbert_config()),
}


def pruned(model: PreTrainedModel, sparsity: float) -> PreTrainedModel:
    """With random biases too, and an empty row in every weight."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for module in model.base_model.modules():
            if isinstance(module, nn.Linear):
                shape = module.weight.shape
                module.weight.copy_(torch.randn(shape, generator=generator) / shape[1] ** 0.5)
                module.weight[torch.rand(shape, generator=generator) < sparsity] = 0
                module.weight[3] = 0
    return model.eval()


def ragged(lengths: list[int], pad_token_id: int, seed: int = 0) -> dict[str, Tensor]:
    """Sequences of these lengths, and holes in the last one of several."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (len(lengths), max(lengths)), generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    if len(lengths) > 1:
        mask[-1, 2 : lengths[-1] : 3] = 0
    return {"input_ids": ids.masked_fill(mask == 0, pad_token_id), "attention_mask": mask}


def worst_difference(ours: object, theirs: object, mask: Tensor) -> float:
    """The largest difference of any output, relative to the largest output, where there is no padding.

    That of what is no number is inf.
    """
    worst = 0.0
    assert list(ours) == list(theirs)
    for name in theirs:
        one, other = ours[name], theirs[name]
        if one.shape[:2] == mask.shape:
            one, other = one[mask.bool()], other[mask.bool()]
        difference = float((one - other).abs().max() / other.abs().max())
        worst = max(worst, math.inf if math.isnan(difference) else difference)
    return worst


def ranges_of(model: PreTrainedModel, *, per_channel: bool = False) -> dict[str, LayerRanges]:
    """Of every linear layer of the encoder, from three sequences."""
    return calibrate(model, [ragged([5, 64, 130], model.config.pad_token_id)], per_channel=per_channel)


def same_for_any_threads(sparse: Any, batch: dict[str, Tensor]) -> bool:
    """Whether 1, 2 and 5 threads give the same bits."""
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(sparse(**batch).last_hidden_state)
    torch.set_num_threads(1)
    return all(torch.equal(results[0], each) for each in results)
