"""The encoder in torch: what the kernels compute, where there are none."""

import itertools
import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor
from transformers.activations import ACT2FN

if TYPE_CHECKING:
    from sparsezoo_hub.runtime.packed_encoder import PackedEncoder, PackedLayer


def torch_encode(encoder: "PackedEncoder", hidden: Tensor, starts: Tensor) -> Tensor:
    """Return what ``PackedEncoder.encode`` promises, one sequence after the other."""
    shape = encoder.shape
    activation = ACT2FN[shape.activation]
    bounds = starts.tolist()
    for layer in encoder.layers:
        mixed = _attend(layer, hidden, bounds, shape.num_heads)
        attended = F.layer_norm(
            layer.mixed.multiply(mixed) + hidden,
            (shape.hidden_size,),
            layer.attention_gain,
            layer.attention_bias,
            shape.epsilon,
        )
        inner = activation(layer.up.multiply(attended))
        hidden = F.layer_norm(
            layer.down.multiply(inner) + attended,
            (shape.hidden_size,),
            layer.output_gain,
            layer.output_bias,
            shape.epsilon,
        )
    return hidden


def _attend(layer: "PackedLayer", hidden: Tensor, bounds: list[int], num_heads: int) -> Tensor:
    projected = layer.projections.multiply(hidden)
    # (num_tokens, 3, num_heads, head_size) to three of (num_heads, num_tokens, head_size)
    queries, keys, values = projected.view(len(hidden), 3, num_heads, hidden.shape[1] // num_heads).permute(
        1, 2, 0, 3
    )
    scale = 1 / math.sqrt(queries.shape[-1])
    parts = [
        (queries[:, start:end] @ keys[:, start:end].transpose(1, 2) * scale).softmax(dim=-1)
        @ values[:, start:end]
        for start, end in itertools.pairwise(bounds)
    ]
    return torch.cat(parts, dim=1).transpose(0, 1).reshape(hidden.shape)
