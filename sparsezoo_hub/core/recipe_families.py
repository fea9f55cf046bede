"""Recipe families: which paper's models a model belongs to, as far as its names tell."""

import re
from collections.abc import Mapping

# By the folder of the family's recipes. A name has it between other parts: roberta-base is no oBERTa.
_NAMES: Mapping[str, str] = {
    "oberta": "oberta?",
    "prune-ofa": "prune[-_ ]?ofa",
    "sparse-bert": r"sparse[-_ *]?bert",
    "minilm": "(?:all-)?minilm",
}
FAMILIES = tuple(_NAMES)


def recipe_family(*names: str | None) -> str | None:
    """Return the family that the first of ``names`` speaks of that speaks of one.

    Args:
        names: of a model, its recipe or its parents, the nearest first; None is passed over.

    Returns:
        One of ``FAMILIES``; None if no name speaks of one.
    """
    for name in names:
        for family, pattern in _NAMES.items():
            if name is not None and re.search(rf"(?<![a-z0-9]){pattern}(?![a-z0-9])", name.lower()):
                return family
    return None
