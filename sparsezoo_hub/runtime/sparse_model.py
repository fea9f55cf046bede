"""Sparse models: models of transformers whose encoder the sparse engine computes."""

import copy
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModel, PreTrainedModel
from transformers.masking_utils import flash_attention_mask
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from sparsezoo_hub.core.layer_dropping import layer_stack
from sparsezoo_hub.core.targets import base_model
from sparsezoo_hub.runtime.packed_encoder import PackedEncoder, pack_encoder

_ATTENTION = "sparse_engine"


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


class SparseModel:
    """Makes models whose encoder the sparse engine computes, on the CPU and for inference.

    They are of transformers' own classes, so pipelines and everything else take them.
    """

    @staticmethod
    def from_model(model: PreTrainedModel) -> PreTrainedModel:
        """Return a model that computes what ``model`` does; ``model`` itself is left as it is.

        Args:
            model: a BERT, RoBERTa or DistilBERT with any head, pruned or not, in whatever dtype.

        Raises:
            BackboneError: if it is none of those.
        """
        return _with_encoder(model, pack_encoder(model))

    @staticmethod
    def from_pretrained(reference: str | Path, **options: Any) -> PreTrainedModel:
        """Return the model of a folder or a Hub repository, with the head that it was saved with.

        Args:
            reference: what transformers' ``from_pretrained`` takes.
            options: likewise, for example ``revision`` and ``token``.

        Raises:
            BackboneError: if it is no BERT, RoBERTa or DistilBERT.
        """
        config = AutoConfig.from_pretrained(reference, **options)
        architecture = (config.architectures or [""])[0]
        model = getattr(transformers, architecture, AutoModel).from_pretrained(reference, **options)
        return SparseModel.from_model(model)


def _with_encoder(model: PreTrainedModel, encoder: PackedEncoder) -> PreTrainedModel:
    # What is already in the memory of a deep copy is taken for copied: the layers are not.
    stack: nn.Module = layer_stack(base_model(model))
    copied: Any = copy.deepcopy(model, {id(stack): SparseEncoder(encoder)})
    copied.config._attn_implementation = _ATTENTION
    sparse: PreTrainedModel = copied.float().cpu().eval().requires_grad_(False)
    return sparse


def _starts(kept: Tensor) -> Tensor:
    """Return where each sequence begins among the tokens that are kept, and their number at the end."""
    counts = kept.sum(dim=1).cumsum(dim=0)
    return torch.cat([counts.new_zeros(1), counts]).to(torch.int32)


def _never_called(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the sparse engine has no attention modules")


# The mask that flash attention gets is the one that the engine needs: (batch, length), None without padding.
AttentionInterface.register(_ATTENTION, _never_called)
AttentionMaskInterface.register(_ATTENTION, flash_attention_mask)
