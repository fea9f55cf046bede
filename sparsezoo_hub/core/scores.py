"""Pruning scores: how much each weight matters. A pruning method is one function of this file."""

from collections.abc import Callable, Mapping

from torch import Tensor


def magnitude(weight: Tensor) -> Tensor:
    """Return ``|w|``, the score of gradual magnitude pruning (Zhu and Gupta, 2018).

    Args:
        weight: (out_features, in_features).
    """
    return weight.detach().abs()


SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {"magnitude": magnitude}
