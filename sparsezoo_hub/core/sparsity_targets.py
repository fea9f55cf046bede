"""Sparsity targets: which weights a pruning is for, and how sparse each of them becomes."""

from torch import nn

from sparsezoo_hub.core.stage_settings import Pruning
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.errors import TargetError


def sparsity_targets(model: nn.Module, pruning: Pruning) -> dict[str, tuple[nn.Linear, float]]:
    """Return the components of a pruning with the final sparsity of each, in the model's order.

    Raises:
        TargetError: if a target or ignore pattern matches nothing, nothing is left, or two targets want
            different sparsities of one component.
    """
    chosen = match_targets(model, tuple(pruning.sparsities), pruning.ignore)
    final: dict[str, tuple[str, float]] = {}
    for target, sparsity in pruning.sparsities.items():
        for name in match_targets(model, (target,)):
            other, earlier = final.setdefault(name, (target, sparsity))
            if earlier != sparsity:
                raise TargetError(
                    f"targets {other!r} and {target!r} want sparsities of {earlier} and {sparsity} of "
                    f"{name}: let each weight be in one target"
                )
    return {name: (module, final[name][1]) for name, module in chosen.items()}
