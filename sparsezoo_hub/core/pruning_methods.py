"""Pruning methods: what is observed while a model trains, and which scores follow from it.

At a mask update, ``recomputations`` times: sample ``num_gradients`` gradients, take the scores, select masks
(``core.selection``), and write back what ``compensate`` returns. Weights and gradients go by component name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import torch
from torch import Tensor

from sparsezoo_hub.core.fisher import BlockFisher, FisherOptions, solve_groups, to_blocks
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.scores import add_movement, loss_increase, magnitude
from sparsezoo_hub.core.structures import STRUCTURES, Structure
from sparsezoo_hub.core.threads import on_threads
from sparsezoo_hub.errors import MaskError, SparsityError


class PruningMethod(ABC):
    """A way to tell which weights matter. A method overrides what it needs; the rest costs nothing.

    ``observes_training`` says whether ``observe`` wants every training step, ``num_gradients`` how many
    gradients to sample before ``scores`` (0 for none), and ``recomputations`` in how many parts a mask
    update is done, with gradients sampled anew for each.
    """

    observes_training: bool = False
    num_gradients: int = 0
    recomputations: int = 1

    def observe(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Take note of a training step, after the backward pass and before the optimizer's step."""
        del weights, gradients

    def sample(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one gradient of the loss, 0 where a weight is pruned, with dropout switched off."""
        del gradients

    @abstractmethod
    def scores(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each weight's scores, of its shape; higher is kept."""

    def compensate(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights' values under new masks, those given if the method does not change survivors.

        What the masks prune need not be zero in them.

        Args:
            weights: all that are pruned, as ``scores`` got them.
            masks: bool, True = kept.
        """
        del masks
        return dict(weights)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a run that is resumed between two mask updates needs; empty for most."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what ``state_dict`` returned.

        Raises:
            MaskError: if it is the state of another method.
        """
        if state:
            raise MaskError(
                f"{type(self).__name__} keeps nothing between mask updates, but the state has "
                f"{len(state)} tensors; resume with the method that the run began with"
            )


class Magnitude(PruningMethod):
    """Gradual magnitude pruning (Zhu and Gupta, 2018)."""

    def scores(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``|w|``."""
        return dict(zip(weights, on_threads(magnitude, weights.values()), strict=True))


class Movement(PruningMethod):
    """Movement pruning (Sanh et al., 2020, equation 5), with scores summed over all training steps."""

    observes_training = True

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def observe(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Add ``-w * gradient``."""
        for name, gradient in gradients.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(gradient, dtype=torch.float32)
            # A state that was loaded may lie on another device.
            self._sums[name] = self._sums[name].to(gradient.device)
            add_movement(self._sums[name], weights[name], gradient)

    def scores(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sums, not copies of them.

        Raises:
            SparsityError: if a weight was never observed.
        """
        unseen = [name for name in weights if name not in self._sums]
        if unseen:
            raise SparsityError(
                f"movement scores come from training steps, but none was observed for {len(unseen)} of "
                f"{len(weights)} weights, the first is {unseen[0]}; start pruning at a later step"
            )
        return {name: self._sums[name] for name in weights}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums by component name."""
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the sums of an earlier run."""
        self._sums = {name: sums.to(torch.float32, copy=True) for name, sums in state.items()}


class OptimalBertSurgeon(PruningMethod):
    """Optimal BERT Surgeon (Kurtic et al., 2022): prune what the loss misses least, mend the survivors.

    The loss is taken for quadratic, its Hessian for the Fisher matrix in blocks. The matrix exists from the
    first sampled gradient to ``compensate``.

    Args:
        structure: blocks are scored and removed as a whole.
        options: of the Fisher matrix.

    Raises:
        SparsityError: if blocks of the structure do not fit into the blocks of the Fisher matrix.
    """

    def __init__(self, structure: Structure, options: FisherOptions) -> None:
        if options.block_size % structure.block:
            raise SparsityError(
                f"a Fisher block of {options.block_size} weights cuts blocks of structure "
                f"{structure.name!r} apart; make block_size a multiple of {structure.block}"
            )
        self.num_gradients = options.num_gradients
        self.recomputations = options.recomputations
        self._group = structure.block
        self._options = options
        self._fishers: dict[str, BlockFisher] = {}

    def sample(self, gradients: Mapping[str, Tensor]) -> None:
        """Add one gradient to the Fisher matrix."""
        for name, gradient in gradients.items():
            if name not in self._fishers or self._fishers[name].is_inverted:
                self._fishers[name] = BlockFisher(gradient, self._options)
            self._fishers[name].add(gradient)

    def scores(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return by how much the loss grows without a weight, ``w² / (2 [F⁻¹]_ii)``, or without its group.

        Raises:
            SparsityError: if no gradients were sampled, one was not finite, or the damping is too small.
        """
        return {name: self._score(name, weight) for name, weight in weights.items()}

    def compensate(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights after the updates that go with each pruned weight, and forget the Fisher matrix.

        ``w_i / [F⁻¹]_ii F⁻¹[:, i]`` is subtracted for every pruned i, as if it went alone, as in the paper;
        of a group, ``F⁻¹[:, B] ([F⁻¹]_BB)⁻¹ w_B``. What is pruned is exactly 0.0 then.

        Raises:
            SparsityError: if no gradients were sampled.
        """
        mended = {}
        for name, weight in weights.items():
            mended[name] = self._mend(name, weight, masks[name])
            del self._fishers[name]
        self._fishers.clear()
        return mended

    def _score(self, name: str, weight: Tensor) -> Tensor:
        fisher, blocks = self._fisher(name), to_blocks(weight.detach(), self._options.block_size)
        scores = torch.empty_like(blocks, dtype=torch.float32)

        def score_chunk(chunk: slice) -> None:
            values = blocks[chunk].double()
            solved = solve_groups(fisher.inverse(chunk), values, self._group)
            scores[chunk] = loss_increase(values, solved, self._group).float()

        fisher.invert()
        on_threads(score_chunk, fisher.chunks(), weight.device)
        return scores.view(-1)[: weight.numel()].view(weight.shape)

    def _mend(self, name: str, weight: Tensor, mask: Tensor) -> Tensor:
        fisher, size = self._fisher(name), self._options.block_size
        blocks, pruned = to_blocks(weight.detach(), size), to_blocks(~mask, size)
        mended = torch.empty_like(blocks)

        def mend_chunk(chunk: slice) -> None:
            values, inverse = blocks[chunk].double(), fisher.inverse(chunk)
            # What was pruned before is 0.0 and adds nothing.
            solved = solve_groups(inverse, values, self._group).masked_fill_(~pruned[chunk], 0.0)
            values -= (inverse @ solved.unsqueeze(-1)).squeeze(-1)
            mended[chunk] = values.masked_fill_(pruned[chunk], 0.0).to(mended.dtype)

        fisher.invert()
        on_threads(mend_chunk, fisher.chunks(), weight.device)
        return mended.view(-1)[: weight.numel()].view(weight.shape)

    def _fisher(self, name: str) -> BlockFisher:
        if name not in self._fishers:
            raise SparsityError(
                f"no gradient was sampled for {name}; sample {self.num_gradients} before each mask update"
            )
        return self._fishers[name]


def _magnitude(structure: Structure, fisher: FisherOptions) -> PruningMethod:
    del structure, fisher
    return Magnitude()


def _movement(structure: Structure, fisher: FisherOptions) -> PruningMethod:
    del structure, fisher
    return Movement()


METHODS: Mapping[str, Callable[[Structure, FisherOptions], PruningMethod]] = {
    "magnitude": _magnitude,
    "movement": _movement,
    "optimal_bert_surgeon": OptimalBertSurgeon,
}


def build_method(
    name: str,
    structure: Structure = STRUCTURES["unstructured"],
    fisher: FisherOptions = FisherOptions(),  # noqa: B008 - frozen
) -> PruningMethod:
    """Return a new pruning method.

    Args:
        name: of ``METHODS``.
        structure: of the masks that are selected from its scores.
        fisher: for the methods with a Fisher matrix; others have no use for it.

    Raises:
        SparsityError: if the structure does not fit the Fisher matrix.
        ValueError: if the name is unknown; it lists the choices and the nearest one.
    """
    return METHODS[check_choice(name, METHODS, "pruning method")](structure, fisher)


def sample_gradients(
    method: PruningMethod,
    gradients: Iterable[Mapping[str, Tensor]],
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Give the method as many gradients as it samples for one mask update; none to most methods.

    Args:
        method: see ``PruningMethod.num_gradients``.
        gradients: of one mini-batch each; only as many are taken as needed. One may reuse the memory of the
            one before.
        on_progress: called after each with how many are done, and of how many.

    Raises:
        SparsityError: if there are fewer gradients than that.
    """
    done = 0
    for gradient in islice(gradients, method.num_gradients):
        method.sample(gradient)
        done += 1
        if on_progress is not None:
            on_progress(done, method.num_gradients)
    if done < method.num_gradients:
        raise SparsityError(
            f"{type(method).__name__} samples {method.num_gradients} gradients for a mask update, but the "
            f"batches ended after {done}; repeat them, or lower num_gradients"
        )


def split_increase(before: float, after: float, parts: int) -> list[float]:
    """Return the sparsities of one mask update in equal parts, the last exactly ``after``."""
    return [before + (after - before) * part / parts for part in range(1, parts)] + [after]
