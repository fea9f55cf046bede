"""Recipe promise: whether a recipe says that there is a pattern, and whether masks are what it says."""

from collections.abc import Mapping

from torch import Tensor
from transformers import PreTrainedModel

from sparsezoo_hub.core.lineage import ancestors
from sparsezoo_hub.core.masks import num_zeros
from sparsezoo_hub.core.recipe import Recipe
from sparsezoo_hub.core.sparsity_report import ComponentSparsity
from sparsezoo_hub.core.sparsity_targets import sparsity_targets
from sparsezoo_hub.core.stage_settings import Pruning
from sparsezoo_hub.core.structures import Structure, parse_structure
from sparsezoo_hub.errors import PackageError


def promises_pattern(recipe: Recipe) -> bool:
    """Return whether a stage that made the packaged model prunes it or locks its pattern.

    The pattern of a parent is no promise by itself: a stage that does not lock it lets it go.
    """
    return any(stage.pruning is not None or stage.lock for stage in ancestors(recipe))


def check_promise(
    pruning: Pruning,
    model: PreTrainedModel,
    components: list[ComponentSparsity],
    masks: Mapping[str, Tensor],
) -> str:
    """Return in words what a pruning promised and the masks keep.

    Args:
        pruning: of the recipe.
        model: of the packaged architecture; names and shapes are enough.
        components: zeros as counted in the packaged weights.
        masks: of the package.

    Raises:
        PackageError: if weights are pruned that should not be, or the other way round; if a count of zeros is
            more than one element, or block, from the promise; or if a mask has another structure.
    """
    targets = sparsity_targets(model, pruning)
    differing = sorted(targets.keys() ^ masks.keys())
    if differing:
        raise PackageError(
            f"the recipe's targets and the masks differ in {len(differing)} weights, the first is "
            f"{differing[0]}"
        )
    structure = parse_structure(pruning.structure)
    broken = [name for name, mask in masks.items() if not _has_structure(mask, structure)]
    if broken:
        raise PackageError(
            f"{len(broken)} masks are not {structure.name} as the recipe says, the first is {min(broken)}"
        )
    groups: dict[str, list[ComponentSparsity]] = {}
    for each in components:
        together = each.name if pruning.scope == "uniform" else f"the weights of {targets[each.name][1]}"
        groups.setdefault(together, []).append(each)
    for name, members in groups.items():
        final = targets[members[0].name][1]
        numel = sum(each.numel for each in members)
        wanted = num_zeros(numel // structure.block, final) * structure.block
        zeros = sum(each.zeros for each in members)
        if abs(zeros - wanted) > structure.block:
            raise PackageError(f"{name} has {zeros} zeros, the recipe's {final} means {wanted}")
    finals = ", ".join(f"{final:g}" for final in sorted(set(pruning.sparsities.values())))
    where = f"in each of {len(components)} weights" if pruning.scope == "uniform" else "over all weights"
    return f"{finals} {where}, {structure.name}, within one {'block' if structure.block > 1 else 'element'}"


def _has_structure(mask: Tensor, structure: Structure) -> bool:
    if structure.block > 1:
        blocks = mask.view(-1, structure.block)
        return bool((blocks.all(1) | ~blocks.any(1)).all())
    if structure.group > 1:
        return int((~mask).view(-1, structure.group).sum(1).max()) <= structure.max_zeros
    return True
