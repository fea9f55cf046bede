"""Thresholds: the k-th smallest score, and what lies at or below it, over one tensor or many.

Many tensors are never joined into one. A sample brackets the threshold between two scores; one pass counts
what lies below the bracket, another takes out the few scores inside it, and only those are ranked. The
sample decides how fast the answer comes, never what it is.
"""

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparsezoo_hub.core.threads import on_threads
from sparsezoo_hub.errors import MaskError

# Ranking this many scores takes less time than bracketing.
_RANKED_AT_ONCE = 1 << 16
_SAMPLE_SIZE = 1 << 15
# The bracket is this many standard deviations of the sampled rank wide to either side.
_MARGIN = 4.0


def lowest(scores: Sequence[Tensor], candidates: Sequence[Tensor | None], count: int) -> list[Tensor]:
    """Return where the ``count`` lowest of all candidates are; of equal scores the higher index goes first.

    Args:
        scores: one-dimensional, floating point, on any device; ``-inf`` and ``inf`` are ordered.
        candidates: for each of the scores, a bool tensor of its shape, or None for all of it.
        count: how many, from 0 to the number of candidates.

    Returns:
        Bool tensors of the scores' shapes, with exactly ``count`` True entries together. The order of
        equal scores is that of the sequence, then of the index.

    Raises:
        MaskError: if scores has nan, or there are fewer candidates than ``count``.
    """
    if any(on_threads(_has_nan, scores)):
        raise MaskError("scores contain nan, so no order exists; look for a loss that diverged")
    # One threshold for all needs one precision.
    dtype = functools.reduce(torch.promote_types, {each.dtype for each in scores})
    scores = [each.to(dtype) for each in scores]
    if count == 0:
        return [torch.zeros_like(each, dtype=torch.bool) for each in scores]
    threshold = kth_smallest(scores, candidates, count)

    def up_to_threshold(pair: tuple[Tensor, Tensor | None]) -> Tensor:
        return _among(pair[0] <= threshold, pair[1])

    chosen = on_threads(up_to_threshold, list(zip(scores, candidates, strict=True)))
    surplus = sum(on_threads(_num_true, chosen)) - count
    for each, found in zip(scores, chosen, strict=True):
        if surplus == 0:
            break
        ties = ((each == threshold) & found).nonzero().flatten()[:surplus]
        found[ties] = False
        surplus -= ties.numel()
    return chosen


def kth_smallest(scores: Sequence[Tensor], candidates: Sequence[Tensor | None], k: int) -> float:
    """Return the ``k``-th smallest score of all candidates.

    Args:
        scores: one-dimensional, floating point, of one dtype, without nan.
        candidates: for each of the scores, a bool tensor of its shape, or None for all of it.
        k: from 1 to the number of candidates.

    Raises:
        MaskError: if there are fewer than ``k`` candidates.
    """
    pairs = list(zip(scores, candidates, strict=True))
    numel = sum(each.numel() if candidate is None else _num_true(candidate) for each, candidate in pairs)
    if not 1 <= k <= numel:
        raise MaskError(f"{k} weights shall be chosen among {numel} candidates; ask for fewer")

    def count(condition: Callable[[Tensor], Tensor]) -> int:
        return sum(on_threads(lambda pair: _num_true(_among(condition(pair[0]), pair[1])), pairs))

    def gather(condition: Callable[[Tensor], Tensor]) -> Tensor:
        found = on_threads(lambda pair: pair[0][_among(condition(pair[0]), pair[1])], pairs)
        return torch.cat([each.to(found[0].device) for each in found])

    if numel <= _RANKED_AT_ONCE:
        return float(gather(lambda each: torch.ones_like(each, dtype=torch.bool)).kthvalue(k).values)
    low, high = _bracket(pairs, k / numel)
    up_to_low = count(lambda each: each <= low)
    if k <= up_to_low:
        if k > count(lambda each: each < low):
            return low
        return float(gather(lambda each: each < low).kthvalue(k).values)
    inside = gather(lambda each: (each > low) & (each < high))
    if k <= up_to_low + inside.numel():
        return float(inside.kthvalue(k - up_to_low).values)
    up_to_high = count(lambda each: each <= high)
    if k <= up_to_high:
        return high
    return float(gather(lambda each: each > high).kthvalue(k - up_to_high).values)


def _bracket(pairs: Sequence[tuple[Tensor, Tensor | None]], fraction: float) -> tuple[float, float]:
    """Return two scores between which the quantile ``fraction`` of the candidates most likely lies."""
    numel = sum(each.numel() for each, _ in pairs)
    # An odd stride does not fall into step with rows, whose length is even.
    stride = max(1, numel // _SAMPLE_SIZE) | 1
    found = [
        each[::stride] if candidate is None else each[::stride][candidate[::stride]]
        for each, candidate in pairs
    ]
    sample = torch.cat([each.to(found[0].device) for each in found]).sort().values
    size = sample.numel()
    if size == 0:  # too few candidates to be met by the stride
        return -math.inf, math.inf
    margin = _MARGIN * math.sqrt(size * fraction * (1 - fraction)) + 1
    low = max(0, math.floor(fraction * size - margin))
    high = min(size - 1, math.ceil(fraction * size + margin))
    return float(sample[low]), float(sample[high])


def _among(condition: Tensor, candidate: Tensor | None) -> Tensor:
    return condition if candidate is None else condition.logical_and_(candidate)


def _num_true(mask: Tensor) -> int:
    return int(torch.count_nonzero(mask))


def _has_nan(scores: Tensor) -> bool:
    return scores.numel() > 0 and bool(torch.isnan(scores.aminmax().min))
