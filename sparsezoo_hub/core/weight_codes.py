"""Weight codes: a weight in int8."""

import torch
from torch import Tensor

from sparsezoo_hub.core.fake_quantization import LARGEST_CODE


def weight_codes(weight: Tensor, scale: Tensor) -> Tensor:
    """Return a weight in int8: round(weight / scale), halves to even, within [-127, 127].

    Args:
        weight: (out_features, in_features).
        scale: one value, or one per output feature.
    """
    # Times the inverse, as torch's fake quantization computes it, so that no code differs from training's.
    inverse = 1.0 / scale.float().reshape(-1, 1)
    return (
        torch.round(weight.detach().float().cpu() * inverse).clamp(-LARGEST_CODE, LARGEST_CODE).to(torch.int8)
    )
