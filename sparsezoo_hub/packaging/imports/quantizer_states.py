"""Quantizer states: what torch's quantization-aware training adds to a model's tensors.

FakeQuantize modules and their observers keep ranges, switches and counters beside the weights; wrappers put
the layer itself one level down (``query.module.weight``). The weights stay floats, not rounded.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.imports.decoded import Decoded

# torch's QuantWrapper holds its layer as ``module``, SparseML's QATWrapper as ``forward_fn``.
_WRAPPED = re.compile(r"\.(?:module|forward_fn)(?=\.(?:weight|bias|mask)$)")
_QUANTIZER = re.compile(r"(?:^|\.)(?:activation_post_process|\w*fake_quant)\.")
_OF_QUANTIZER = {
    *("scale", "zero_point", "eps", "min_val", "max_val", "min_vals", "max_vals", "histogram"),
    *("fake_quant_enabled", "observer_enabled", "static_enabled", "learning_enabled"),
    *("requantize", "quant_enabled"),
}
# Of IntelLabs' QuantizedLinear itself.
_OF_LAYER = {"_step", "fake_quant_enabled"}


def is_quantizer_state(name: str) -> bool:
    """Return whether a tensor of this name belongs to a quantizer, and to no weight."""
    last = name.rpartition(".")[2]
    return last in _OF_LAYER or (last in _OF_QUANTIZER and _QUANTIZER.search(name) is not None)


def is_wrapped(name: str) -> bool:
    """Return whether a tensor of this name belongs to a layer in a quantization wrapper."""
    return _WRAPPED.search(name) is not None


def without_quantizer_states(tensors: Mapping[str, Tensor]) -> Decoded:
    """Return the tensors without quantizers' states and wrappers; the states are left out.

    Raises:
        PackageError: if a tensor is there both wrapped and not.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if is_quantizer_state(name):
            continue
        unwrapped = _WRAPPED.sub("", name)
        if unwrapped in plain:
            raise PackageError(
                f"{unwrapped} is there twice, in a quantization wrapper and without: keep one of them"
            )
        plain[unwrapped] = tensor
    return Decoded(plain, {}, tuple(name for name in tensors if is_quantizer_state(name)))
