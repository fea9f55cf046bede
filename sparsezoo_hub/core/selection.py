"""Selection: the masks of many components at once, each by itself or against all others."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sparsezoo_hub.core.masks import num_zeros
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.structures import STRUCTURES, Structure, check_structure
from sparsezoo_hub.core.threads import on_threads
from sparsezoo_hub.core.thresholds import lowest
from sparsezoo_hub.errors import MaskError


def _uniform(names: Sequence[str]) -> list[list[str]]:
    return [[name] for name in names]


def _global(names: Sequence[str]) -> list[list[str]]:
    return [list(names)] if names else []


# Which components share a threshold.
SCOPES: Mapping[str, Callable[[Sequence[str]], list[list[str]]]] = {"uniform": _uniform, "global": _global}


def select_masks(
    scores: Mapping[str, Tensor],
    sparsity: float,
    *,
    scope: str = "uniform",
    structure: Structure = STRUCTURES["unstructured"],
    kept: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return masks that keep the highest scores.

    With scope ``uniform`` every component reaches the sparsity by itself; with ``global`` they reach it
    together, under one threshold, the same as ``torch.nn.utils.prune.global_unstructured``. Equal scores
    are kept in the order of the components, then of the index.

    Without a structure the number of zeros is exact: ``round(sparsity * numel)``. With blocks, whole blocks
    go, ``round(sparsity * num_blocks)`` of them, those with the lowest sums of scores. With N:M only the
    M - N lowest of every group can go, the lowest of all first; at (M - N) / M all have gone.

    Args:
        scores: (out_features, in_features) by component name; higher is kept.
        sparsity: fraction of entries to zero, in [0, 1), of each component or of all together.
        scope: of ``SCOPES``.
        structure: see ``core.structures``.
        kept: the masks of an earlier call. What they pruned stays pruned; where they prune more than is
            asked for, or more than N:M demands of a group, there are more zeros.

    Returns:
        Bool masks of the scores' shapes by component name, True = kept.

    Raises:
        SparsityError: if sparsity is outside [0, 1) or out of the structure's reach, or a shape does not fit
            the structure.
        MaskError: if scores has nan, or kept has other names or shapes.
        ValueError: if the scope is unknown; it lists the choices.
    """
    check_structure(structure, sparsity, {name: each.shape for name, each in scores.items()})
    groups = SCOPES[check_choice(scope, SCOPES, "scope")](list(scores))
    kept = _checked(scores, kept)
    masks = on_threads(lambda names: _select(names, scores, sparsity, structure, kept), groups)
    return {name: mask for group in masks for name, mask in group.items()}


def _select(
    names: Sequence[str],
    scores: Mapping[str, Tensor],
    sparsity: float,
    structure: Structure,
    kept: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return the masks of components that share a threshold."""

    def prepare(name: str) -> tuple[Tensor, Tensor | None, int]:
        units = _units(scores[name].detach(), structure)
        if name not in kept:
            return units, _candidates(units, None, structure), 0
        alive = _alive(kept[name], structure)
        return units, _candidates(units, alive, structure), _num_gone(alive, structure)

    units, candidates, gone = zip(*on_threads(prepare, names), strict=True)
    zeros = num_zeros(sum(each.numel() for each in units), sparsity)
    pruned = lowest(units, candidates, max(0, zeros - sum(gone)))

    def finish(name: str, chosen: Tensor) -> Tensor:
        mask = chosen.logical_not_()
        if structure.block > 1:
            mask = mask.repeat_interleave(structure.block)
        mask = mask.view(scores[name].shape)
        return mask.logical_and_(kept[name]) if name in kept else mask

    done = on_threads(lambda pair: finish(*pair), list(zip(names, pruned, strict=True)))
    return dict(zip(names, done, strict=True))


def _checked(scores: Mapping[str, Tensor], kept: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
    """Return the earlier masks, where each is for one of the scores; empty without any."""
    if not kept:
        return {}
    if kept.keys() != scores.keys():
        name = min(kept.keys() ^ scores.keys())
        raise MaskError(
            f"{len(kept)} earlier masks do not fit {len(scores)} components: {name} is only among the "
            f"{'masks' if name in kept else 'components'}; give the masks of the same targets"
        )
    for name, each in scores.items():
        if kept[name].shape != each.shape or kept[name].dtype != torch.bool:
            raise MaskError(
                f"the earlier mask of {name} is {tuple(kept[name].shape)} of {kept[name].dtype}, "
                f"its scores are of shape {tuple(each.shape)}; it must be bool and of the same shape"
            )
    return kept


def _units(scores: Tensor, structure: Structure) -> Tensor:
    """Return the scores of what is pruned as one: weights, or blocks."""
    return scores.flatten() if structure.block == 1 else scores.reshape(-1, structure.block).sum(1)


def _alive(kept: Tensor, structure: Structure) -> Tensor:
    return kept.flatten() if structure.block == 1 else kept.reshape(-1, structure.block).any(1)


def _candidates(units: Tensor, alive: Tensor | None, structure: Structure) -> Tensor | None:
    """Return which units can be pruned; None for all of them."""
    if structure.group == 1:
        return alive
    # What has been pruned before is among the lowest of its group, and so counts towards its limit.
    ordered = units
    if alive is not None:
        ordered = units.clamp(min=torch.finfo(units.dtype).min).masked_fill_(~alive, -torch.inf)
    columns = ordered.view(-1, structure.group).t().contiguous()
    # Pairs of columns are compared instead of sorting millions of short rows.
    ranks = torch.zeros_like(columns, dtype=torch.int16)
    for left, right in itertools.combinations(range(structure.group), 2):
        is_left_lower = columns[left] < columns[right]  # a tie keeps the lower index
        ranks[left] += ~is_left_lower
        ranks[right] += is_left_lower
    limited = (ranks < structure.max_zeros).t().reshape(-1)
    return limited if alive is None else limited.logical_and_(alive)


def _num_gone(alive: Tensor, structure: Structure) -> int:
    """Return how many units have been pruned before; in a group, no more than its limit counts."""
    gone = ~alive
    if structure.group == 1:
        return int(torch.count_nonzero(gone))
    return int(gone.view(-1, structure.group).sum(1).clamp_(max=structure.max_zeros).sum())
