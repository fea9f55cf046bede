"""The models that ``inference.py`` measures."""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.core.masks import top_k_mask
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.onnx_export import export_onnx
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.wordpiece import train_wordpiece

VOCABULARY = 8_000


def make_model(layers: int, hidden: int, sparsity: float) -> BertForQuestionAnswering:
    """Return a model of random weights, always the same, pruned."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )
    model = BertForQuestionAnswering(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # zeros and ones, which no trained model has
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
        if sparsity:
            for module in match_targets(model, ["encoder"]).values():
                module.weight *= top_k_mask(module.weight.abs(), sparsity)
    return model


def calibrated(model: BertForQuestionAnswering) -> dict[str, LayerRanges]:
    """Return int8 ranges that hold what random tokens give."""
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, VOCABULARY, (2, 128), generator=generator) for _ in range(2)]
    return calibrate(model, [{"input_ids": each} for each in ids])


def export(
    model: BertForQuestionAnswering, ranges: Mapping[str, LayerRanges], folder: Path
) -> dict[str, Path]:
    """Return the ONNX files of a model, by precision."""
    documents = python_documentation()
    train_wordpiece(documents, VOCABULARY).save_pretrained(folder)
    texts = [document.text[:200] for document in documents[:11]]
    export_onnx(model, AutoTokenizer.from_pretrained(folder), texts, folder / "onnx")
    write_onnx_int8(model, ranges, folder / "onnx", folder / "onnx-int8")
    return {
        "float32": folder / "onnx" / "model.onnx",
        "int8": folder / "onnx-int8" / "model_quantized.onnx",
    }
