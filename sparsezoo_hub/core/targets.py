"""Targets: which weights a recipe means.

A component is the weight of one ``nn.Linear`` inside the base model (the encoder without its task head).
Its name is relative to the base model, ``encoder.layer.0.attention.self.query.weight``, and so is the
same under every head: what is pruned under a masked-language-model head is found again under another.
"""

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from sparsezoo_hub.errors import TargetError

# Named groups; BERT and RoBERTa name their layers encoder.layer, DistilBERT transformer.layer.
TARGET_GROUPS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("encoder.layer.*", "transformer.layer.*"),
    "pooler": ("pooler.*",),
}


def base_model(model: nn.Module) -> nn.Module:
    """Return the encoder of a transformers model without its head, or ``model`` itself.

    A wrapper (DDP, torch.compile, sentence-transformers) is looked through.
    """
    for module in model.modules():
        if hasattr(
            type(module), "base_model_prefix"
        ):  # a transformers model; some wrappers forward attributes
            base = module.base_model
            return base if isinstance(base, nn.Module) else module
    return model


def linear_modules(model: nn.Module) -> dict[str, nn.Linear]:
    """Return every component's module under its weight's name relative to the base model."""
    return {
        f"{name}.weight": module
        for name, module in base_model(model).named_modules()
        if isinstance(module, nn.Linear)
    }


def match_targets(
    model: nn.Module, targets: Sequence[str], ignore: Sequence[str] = ()
) -> dict[str, nn.Linear]:
    """Return the components that match ``targets`` and not ``ignore``, in the model's order.

    Args:
        model: any model; only ``nn.Linear`` weights of its base model can match.
        targets: names of ``TARGET_GROUPS``, or patterns on component names (``encoder.layer.0.*``),
            where ``*`` stands for anything.
        ignore: patterns of the same kind to leave out.

    Raises:
        TargetError: if a target or ignore pattern matches nothing, or nothing is left.
    """
    components = linear_modules(model)
    ignored = {name for pattern in ignore for name in _matches(pattern, components, "ignore")}
    chosen = {name for pattern in targets for name in _matches(pattern, components, "target")} - ignored
    if not chosen:
        raise TargetError(f"targets {list(targets)} without {list(ignore)} leave no weight to prune")
    return {name: module for name, module in components.items() if name in chosen}


def _matches(pattern: str, components: Mapping[str, nn.Linear], kind: str) -> list[str]:
    patterns = TARGET_GROUPS.get(pattern, (pattern,))
    found = [name for name in components if any(fnmatchcase(name, each) for each in patterns)]
    if not found:
        choices = [*TARGET_GROUPS, *components]
        nearest = difflib.get_close_matches(pattern, choices, n=1, cutoff=0.0)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise TargetError(
            f"{kind} {pattern!r} matches none of the {len(components)} Linear weights of the base model{hint}"
        )
    return found
