"""Folders of other makers' zoos, as their own code writes them."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from packaging_case import locked_model, magnitude_masks, wordpiece_tokenizer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, QuantWrapper
from torch.nn.utils import prune
from transformers import PreTrainedModel

from sparsezoo_hub.core.pattern_lock import PatternLock
from sparsezoo_hub.core.targets import linear_modules
from sparsezoo_hub.packaging.imports.checkpoint import read_checkpoint
from sparsezoo_hub.packaging.imports.detection import FORMATS, detect_format
from sparsezoo_hub.packaging.imports.model_loading import load_decoded
from sparsezoo_hub.packaging.imports.pattern import imported_pattern

OLD_RECIPE = """
modifiers:
  - !EpochRangeModifier
      start_epoch: 0.0
      end_epoch: 30
  - !GMPruningModifier
      final_sparsity: 0.9
"""


def sparse_model(kind: str) -> PreTrainedModel:
    """A model with zeros in place, and nothing of this package on it."""
    model = locked_model(kind)
    PatternLock.unlock(model)
    return model


def masked_names(model: PreTrainedModel) -> dict[str, Tensor]:
    """Masks by the names that the model's tensors have in a file."""
    prefix = f"{model.base_model_prefix}."
    return {prefix + name: mask for name, mask in magnitude_masks(model).items()}


def write_folder(folder: Path, model: PreTrainedModel, tensors: Mapping[str, Tensor], file: str) -> Path:
    """A folder with config, tokenizer, and these tensors in a file of this name."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    wordpiece_tokenizer().save_pretrained(folder)
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    if file.endswith(".safetensors"):
        save_file(plain, folder / file, metadata={"format": "pt"})
    else:
        torch.save(plain, folder / file)
    return folder


def intel_labs_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """``weight_original`` and a float ``weight_mask``; the originals are not 0 where they are masked."""
    tensors = dict(model.state_dict())
    for name, mask in masked_names(model).items():
        weight = tensors.pop(name)
        tensors[f"{name}_original"] = torch.where(mask, weight, torch.full_like(weight, -0.25))
        tensors[f"{name}_mask"] = mask.to(weight.dtype)
    return tensors


def torch_prune_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """What torch's own pruning leaves in the state dict."""
    masks = magnitude_masks(model)
    for name, module in linear_modules(model).items():
        if name in masks:
            prune.custom_from_mask(module, "weight", masks[name])
    tensors = dict(model.state_dict())
    for name, module in linear_modules(model).items():
        if name in masks:
            prune.remove(module, "weight")
    return tensors


def bitmask_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Every pruned weight as shape, bits, values and row offsets, spelled out weight by weight."""
    tensors = dict(model.state_dict())
    for name in masked_names(model):
        weight = tensors.pop(name)
        layer = name.removesuffix(".weight")
        rows, columns = weight.shape
        bits = torch.zeros(rows, (columns + 7) // 8, dtype=torch.uint8)
        values, offsets = [], []
        for row, stored in enumerate(weight.tolist()):
            offsets.append(len(values))
            for column, value in enumerate(stored):
                if value != 0:
                    bits[row, column // 8] += 2 ** (column % 8)
                    values.append(value)
        tensors[f"{layer}.shape"] = torch.tensor([rows, columns])
        tensors[f"{layer}.bitmask"] = bits
        tensors[f"{layer}.compressed"] = torch.tensor(values)
        tensors[f"{layer}.row_offsets"] = torch.tensor(offsets)
    return tensors


def sparseml_tensors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Layers in torch's QuantWrapper, with torch's FakeQuantize for weights, inputs and embeddings."""

    class Wrapped(nn.Module):
        def __init__(self, linear: nn.Linear) -> None:
            super().__init__()
            wrapper = QuantWrapper(linear)
            self.quant, self.module = wrapper.quant, wrapper.module
            self.quant.activation_post_process = FakeQuantize()
            self.module.weight_fake_quant = FakeQuantize()

    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".layer." in name
    }
    tensors = {
        name: tensor for name, tensor in model.state_dict().items() if name.rpartition(".")[0] not in linear
    }
    for name, module in linear.items():
        states = Wrapped(module).state_dict()
        tensors |= {f"{name}.{key}": tensor for key, tensor in states.items()}
        del module.weight_fake_quant
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            states = FakeQuantize().state_dict()
            tensors |= {f"{name}.weight_fake_quant.{key}": tensor for key, tensor in states.items()}
    return tensors


def with_compression_settings(folder: Path) -> Path:
    """The block that compressed-tensors writes into the config."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "sparsity_config": {"format": "sparse-bitmask", "sparsity_structure": "unstructured"},
        "version": "0.14.0",
    }
    path.write_text(json.dumps(config))
    return folder


def load_imported(folder: Path) -> tuple[str, PreTrainedModel, dict[str, Tensor]]:
    """Everything of an import but the writing: format, model, masks."""
    checkpoint = read_checkpoint(folder)
    name = detect_format(checkpoint)
    decoded = FORMATS[name].decode(checkpoint)
    model, _ = load_decoded(checkpoint, decoded)
    masks, _ = imported_pattern(model, decoded.masks, str(folder))
    return name, model, masks
