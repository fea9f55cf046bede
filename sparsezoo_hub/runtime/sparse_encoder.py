"""The sparse encoder: what takes the place of a model's layers."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import flash_attention_mask
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from sparsezoo_hub.core.layer_dropping import layer_stack
from sparsezoo_hub.core.targets import base_model
from sparsezoo_hub.runtime.packed_encoder import PackedEncoder

# What a sparse model's configuration calls its attention, in memory only.
ATTENTION = "sparse_engine"


class SparseEncoder(nn.Module):
    """Takes the place of a model's layers.

    Args:
        encoder: what computes.
    """

    def __init__(self, encoder: PackedEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Return the last hidden states (batch, length, hidden_size), 0 at padding.

        Padding is left out before anything is computed, wherever it stands.

        Args:
            hidden_states: (batch, length, hidden_size), the embeddings.
            attention_mask: (batch, length), 0 or False at padding; None without any.
            options: what a model hands to its layers.

        Raises:
            ValueError: if the mask has another shape, or hidden states or attentions of every layer are
                asked for, which the engine does not keep.
        """
        for name in ("output_hidden_states", "output_attentions"):
            if options.get(name):
                raise ValueError(
                    f"the sparse engine keeps no {name.removeprefix('output_')}: use transformers for them"
                )
        batch, length, size = hidden_states.shape
        if attention_mask is None:
            starts = torch.arange(0, (batch + 1) * length, length, dtype=torch.int32)
            encoded = self.encoder.encode(hidden_states.float().reshape(-1, size), starts)
            return BaseModelOutputWithPastAndCrossAttentions(
                last_hidden_state=encoded.view(batch, length, size)
            )
        if attention_mask.shape != (batch, length):
            raise ValueError(
                f"the sparse engine takes an attention mask of {(batch, length)}, "
                f"got {tuple(attention_mask.shape)}"
            )
        kept = attention_mask.bool()
        starts = _starts(kept)
        result = torch.zeros(batch, length, size)
        result[kept] = self.encoder.encode(hidden_states[kept].float(), starts)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=result)


def replace_layers(model: PreTrainedModel, encoder: PackedEncoder) -> None:
    """Put an encoder into the place of a model's layers."""
    base: Any = base_model(model)
    stack = layer_stack(base)
    name = next(name for name, module in base.named_children() if module is stack)
    setattr(base, name, SparseEncoder(encoder))
    model.config._attn_implementation = ATTENTION


def sparse_encoder_of(model: nn.Module) -> SparseEncoder | None:
    """Return what computes a model's layers; None if they are torch's own."""
    return next((module for module in model.modules() if isinstance(module, SparseEncoder)), None)


def _starts(kept: Tensor) -> Tensor:
    """Return where each sequence begins among the tokens that are kept, and their number at the end."""
    counts = kept.sum(dim=1).cumsum(dim=0)
    return torch.cat([counts.new_zeros(1), counts]).to(torch.int32)


def _never_called(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the sparse engine has no attention modules")


# The mask that flash attention gets is the one that the engine needs: (batch, length), None without padding.
AttentionInterface.register(ATTENTION, _never_called)
AttentionMaskInterface.register(ATTENTION, flash_attention_mask)
