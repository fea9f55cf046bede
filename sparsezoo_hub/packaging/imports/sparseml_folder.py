"""Training folders of SparseML and SparseZoo: zeros in the weights, a recipe of modifiers.

Quantization-aware training wraps layers and adds quantizers; a mask that was made persistent is a buffer
``mask`` beside its ``weight``. A recipe is YAML, or Markdown with YAML at its head.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.imports.checkpoint import Checkpoint
from sparsezoo_hub.packaging.imports.decoded import Decoded, bool_mask
from sparsezoo_hub.packaging.imports.quantizer_states import (
    is_quantizer_state,
    is_wrapped,
    without_quantizer_states,
)

_MASK = ".mask"
_RECIPES = ("recipe*.yaml", "recipe*.yml", "recipe*.md", "recipe/*.yaml", "recipe/*.yml", "recipe/*.md")
_MODIFIER = re.compile(r"^\s*(?:-\s*!)?\w+Modifier\b", re.MULTILINE)
# A recipe is a page of text; whatever is larger is something else.
_LARGEST_RECIPE = 1 << 20


def is_sparseml_folder(checkpoint: Checkpoint) -> bool:
    """Return whether the folder has a recipe of SparseML, or tensors that its training adds."""
    names = checkpoint.tensors
    return bool(sparseml_recipes(checkpoint)) or any(
        name.endswith(_MASK) or is_wrapped(name) or is_quantizer_state(name) for name in names
    )


def decode_sparseml_folder(checkpoint: Checkpoint) -> Decoded:
    """Return the weights, and the masks if they are stored; quantizers are left out.

    Raises:
        PackageError: if a mask does not fit, or a weight is not 0 where its mask says pruned.
    """
    plain = without_quantizer_states(checkpoint.tensors)
    tensors = {name: tensor for name, tensor in plain.tensors.items() if not name.endswith(_MASK)}
    masks = {}
    for name in plain.tensors.keys() - tensors.keys():
        weight = f"{name.removesuffix(_MASK)}.weight"
        if weight not in tensors:
            raise PackageError(
                f"{name} has no {weight} beside it: the checkpoint is incomplete, fetch it again"
            )
        masks[weight] = _checked(
            weight, tensors[weight], bool_mask(name, plain.tensors[name], tensors[weight].shape)
        )
    return Decoded(tensors, masks, plain.left_out)


def sparseml_recipes(checkpoint: Checkpoint) -> list[Path]:
    """Return the recipes of SparseML that lie with the checkpoint, sorted by name."""
    folders = dict.fromkeys((checkpoint.given, checkpoint.folder))
    found = {path.name: path for folder in folders for glob in _RECIPES for path in folder.glob(glob)}
    return [found[name] for name in sorted(found) if _is_recipe(found[name])]


def _is_recipe(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > _LARGEST_RECIPE:
        return False
    try:
        return _MODIFIER.search(path.read_bytes().decode()) is not None
    except UnicodeDecodeError:
        return False


def _checked(name: str, weight: Tensor, mask: Tensor) -> Tensor:
    revived = int(torch.count_nonzero(weight[~mask]))
    if revived:
        raise PackageError(
            f"{name} has {revived} nonzero values where its mask says pruned: mask and weight are of "
            "different moments; fetch the checkpoint again, or correct the mask"
        )
    return mask
