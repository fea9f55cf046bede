"""Structures: which weights are pruned together, and how many may be pruned where.

A structure speaks of consecutive inputs of one output, that is of neighbours in a row of a weight of shape
(out_features, in_features).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sparsezoo_hub.core.masks import check_sparsity
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.errors import SparsityError

_N_OF_M = re.compile(r"(\d{1,4}):(\d{1,4})", re.ASCII)
_BLOCK = re.compile(r"1x(\d{1,4})", re.ASCII)


@dataclass(frozen=True)
class Structure:
    """What a pattern looks like.

    Args:
        name: as in a recipe.
        block: consecutive inputs that are pruned together; 1 for single weights.
        group: consecutive inputs that share a limit; 1 for no limit.
        max_zeros: how many of a group may be pruned.
    """

    name: str
    block: int = 1
    group: int = 1
    max_zeros: int = 1

    @property
    def max_sparsity(self) -> Fraction:
        """The most that can be pruned: (M - N) / M, or 1 without a limit."""
        return Fraction(self.max_zeros, self.group)

    @property
    def width(self) -> int:
        """in_features must be a multiple of this."""
        return max(self.block, self.group)


STRUCTURES: Mapping[str, Structure] = {
    "unstructured": Structure("unstructured"),
    "2:4": Structure("2:4", group=4, max_zeros=2),
    "1x4": Structure("1x4", block=4),
}


def parse_structure(name: str) -> Structure:
    """Return the structure of that name.

    Args:
        name: of ``STRUCTURES``; or ``N:M``, at most N kept of every M consecutive inputs; or ``1xB``,
            blocks of B consecutive inputs of one output.

    Raises:
        SparsityError: if N is not between 1 and M - 1, or B is 0.
        ValueError: if the name is none of these; it lists the choices and the nearest one.
    """
    if found := _N_OF_M.fullmatch(name):
        num_kept, group = int(found[1]), int(found[2])
        if not 1 <= num_kept < group:
            raise SparsityError(
                f"structure {name!r} keeps {num_kept} of every {group} weights; N:M needs 1 <= N < M"
            )
        return Structure(name, group=group, max_zeros=group - num_kept)
    if found := _BLOCK.fullmatch(name):
        if int(found[1]) == 0:
            raise SparsityError(f"structure {name!r} has blocks of no weights; 1xB needs B >= 1")
        return Structure(name, block=int(found[1]))
    return STRUCTURES[check_choice(name, STRUCTURES, "structure (any N:M and 1xB will do)")]


def check_structure(structure: Structure, sparsity: float, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse what the structure cannot reach, before anything is trained.

    Args:
        structure: see ``parse_structure``.
        sparsity: the final one, in [0, 1).
        shapes: (out_features, in_features) of every component by name.

    Raises:
        SparsityError: if the structure cannot be that sparse, or an in_features is no multiple of its width.
    """
    if check_sparsity(sparsity) > float(structure.max_sparsity):  # float, as 2/3 for 1:3 is one
        most = structure.max_sparsity
        raise SparsityError(
            f"structure {structure.name!r} can reach a sparsity of at most {float(most):.6g} ({most}), "
            f"got {sparsity}; lower the sparsity or choose another structure"
        )
    unfit = [name for name, shape in shapes.items() if shape[-1] % structure.width]
    if unfit:
        raise SparsityError(
            f"structure {structure.name!r} needs in_features that are multiples of {structure.width}; "
            f"{len(unfit)} of {len(shapes)} weights have others, the first is {unfit[0]} of shape "
            f"{tuple(shapes[unfit[0]])}; ignore them or choose another structure"
        )
