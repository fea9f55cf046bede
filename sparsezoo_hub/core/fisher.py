"""The empirical Fisher matrix of one weight, in blocks on its diagonal (Optimal BERT Surgeon, 2022).

A block belongs to ``block_size`` consecutive weights: ``F = damping * I + 1/m sum of g gᵀ`` over ``m``
gradients. The sums are kept and inverted at the end, in float64: with a damping of 1e-7, the usual recursion
on the inverse in float32 starts at 1e7 and cancels until no digit is left where gradients are large. As a
symmetric matrix is kept by half, float64 takes no more memory than the full inverse in float32.

Shapes: n blocks of b weights, h half of an even b (an odd block is padded by one), k gradients.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsezoo_hub.core.threads import on_threads
from sparsezoo_hub.errors import SparsityError

# Gradients are gathered until they are worth a pass over all sums; takes as many times the weight's memory.
_NUM_GATHERED = 3
# Blocks that are worked on at once; few enough for the cache of a CPU.
_CHUNK = 256


@dataclass(frozen=True)
class FisherOptions:
    """How the Fisher matrix is estimated; the defaults are those of Optimal BERT Surgeon.

    Args:
        block_size: weights to a block, at least 1.
        num_gradients: gradients to a mask update, one per mini-batch, at least 1.
        damping: what is added to the diagonal, above 0.
        recomputations: parts of one mask update, with new gradients for each, at least 1.

    Raises:
        ValueError: if one is out of its range.
    """

    block_size: int = 50
    num_gradients: int = 1024
    damping: float = 1e-7
    recomputations: int = 1

    def __post_init__(self) -> None:
        for name in ("block_size", "num_gradients", "recomputations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of the Fisher matrix must be at least 1, got {getattr(self, name)}")
        if not self.damping > 0:
            raise ValueError(f"damping of the Fisher matrix must be above 0, got {self.damping}")


class BlockFisher:
    """The Fisher blocks of one weight: gradients go in, the inverse comes out.

    It holds 8 * (b / 2 + 1/2) bytes per weight, about those of the inverse in float32, and at most
    3 gradients.

    Args:
        weight: whose gradients are meant; only its number of entries and its device are used.
        options: see ``FisherOptions``.
    """

    def __init__(self, weight: Tensor, options: FisherOptions) -> None:
        self.options = options
        self.num_added = 0
        size, half = options.block_size, -(-options.block_size // 2)
        num_blocks = -(-weight.numel() // size)
        self.is_inverted = False
        # [[A, C], [Cᵀ, B]]: C whole; the lower triangle of A and the upper of B share one square, and the
        # diagonal of B is kept aside.
        self._corner = torch.zeros(num_blocks, half, half, dtype=torch.float64, device=weight.device)
        self._triangles = torch.zeros_like(self._corner)
        self._diagonal = self._corner.new_zeros(num_blocks, half)
        self._is_lower = torch.ones(half, half, dtype=torch.bool, device=weight.device).tril()
        gathered = min(_NUM_GATHERED, options.num_gradients)
        self._gathered: Tensor | None = torch.empty(num_blocks, gathered, 2 * half, device=weight.device)

    @property
    def num_blocks(self) -> int:
        """How many blocks there are; the last one may reach beyond the weight."""
        return len(self._corner)

    def add(self, gradient: Tensor) -> None:
        """Add one gradient, 0 where the weight is pruned.

        Args:
            gradient: of the weight's shape.

        Raises:
            RuntimeError: if the matrix has been inverted already.
        """
        if self._gathered is None:
            raise RuntimeError("this Fisher matrix has been inverted, begin another one")
        place = self.num_added % self._gathered.shape[1]
        blocks = to_blocks(gradient.detach(), self.options.block_size)
        self._gathered[:, place, : blocks.shape[1]] = blocks
        if blocks.shape[1] < self._gathered.shape[2]:
            self._gathered[:, place, blocks.shape[1] :] = 0.0
        self.num_added += 1
        if place + 1 == self._gathered.shape[1]:
            self._sum(self._gathered)

    def invert(self) -> None:
        """Put the inverse of every block in the place of its sums.

        Raises:
            SparsityError: if no gradient was added, one was not finite, or the damping is too small.
        """
        if self._gathered is not None:
            self._sum(self._gathered[:, : self.num_added % self._gathered.shape[1]])
            self._gathered = None
        if self.is_inverted:
            return
        if self.num_added == 0:
            raise SparsityError("no gradient was sampled, so that the Fisher matrix is empty; sample some")
        on_threads(self._invert_chunk, self.chunks(), self._corner.device)
        self.is_inverted = True

    def inverse(self, chunk: slice) -> Tensor:
        """Return the inverse of some blocks, (n, b, b) in float64.

        Args:
            chunk: of the blocks, see ``chunks``.

        Raises:
            SparsityError: as ``invert``, which the first call does.
        """
        self.invert()
        size = self.options.block_size
        return self._unpacked(chunk)[:, :size, :size]

    def chunks(self) -> Iterator[slice]:
        """Return slices over the blocks, each small enough to be worked on at once."""
        return (slice(first, first + _CHUNK) for first in range(0, self.num_blocks, _CHUNK))

    def _sum(self, gathered: Tensor) -> None:
        """Add the outer products of (n, k, 2h) gradients."""
        half = self._corner.shape[1]

        def sum_chunk(chunk: slice) -> None:
            gradients = gathered[chunk].double()
            left, right = gradients[..., :half], gradients[..., half:]
            self._corner[chunk].baddbmm_(left.mT, right)
            self._triangles[chunk] += torch.where(self._is_lower, left.mT @ left, right.mT @ right)
            self._diagonal[chunk] += right.square().sum(1)

        on_threads(sum_chunk, self.chunks(), self._corner.device)

    def _invert_chunk(self, chunk: slice) -> None:
        blocks = self._unpacked(chunk).div_(self.num_added)
        if not torch.isfinite(blocks).all():
            raise SparsityError("a sampled gradient holds nan or inf; look for a loss that diverged")
        blocks.diagonal(dim1=1, dim2=2).add_(self.options.damping)
        factors, failures = torch.linalg.cholesky_ex(blocks)
        if failures.any():
            raise SparsityError(
                f"the Fisher matrix is singular at a damping of {self.options.damping} beside "
                f"gradients of up to {float(blocks.amax()) ** 0.5:.3g}; raise the damping"
            )
        self._pack(chunk, torch.cholesky_inverse(factors))

    def _unpacked(self, chunk: slice) -> Tensor:
        corner, triangles = self._corner[chunk], self._triangles[chunk]
        half = corner.shape[1]
        blocks = corner.new_empty(corner.shape[0], 2 * half, 2 * half)
        blocks[:, :half, half:] = corner
        blocks[:, half:, :half] = corner.mT
        blocks[:, :half, :half] = torch.where(self._is_lower, triangles, triangles.mT)
        blocks[:, half:, half:] = torch.where(self._is_lower, triangles.mT, triangles)
        blocks.diagonal(dim1=1, dim2=2)[:, half:] = self._diagonal[chunk]
        return blocks

    def _pack(self, chunk: slice, blocks: Tensor) -> None:
        half = self._corner.shape[1]
        self._corner[chunk] = blocks[:, :half, half:]
        self._triangles[chunk] = torch.where(self._is_lower, blocks[:, :half, :half], blocks[:, half:, half:])
        self._diagonal[chunk] = blocks.diagonal(dim1=1, dim2=2)[:, half:]


def to_blocks(entries: Tensor, block_size: int) -> Tensor:
    """Return the entries in order, (n, block_size), the last block filled up with 0."""
    flat = entries.reshape(-1)
    return pad(flat, (0, -flat.numel() % block_size)).view(-1, block_size)


def solve_groups(inverse: Tensor, weights: Tensor, group: int) -> Tensor:
    """Return ``([F⁻¹]_BB)⁻¹ w_B`` for every group B of consecutive weights; ``w / diag(F⁻¹)`` for group 1.

    Args:
        inverse: (n, b, b), of the Fisher blocks, with b a multiple of ``group``.
        weights: (n, b).
        group: how many weights are pruned together.
    """
    if group == 1:
        return weights / inverse.diagonal(dim1=1, dim2=2)
    num, size = weights.shape
    tiles = inverse.reshape(num, size // group, group, size // group, group).diagonal(dim1=1, dim2=3)
    grouped = weights.view(num, -1, group, 1)
    return torch.linalg.solve(tiles.permute(0, 3, 1, 2), grouped).view(num, size)  # type: ignore[no-any-return]
