"""Pruning scores: how much each weight matters. ``core.pruning_methods`` says when each is taken."""

from torch import Tensor


def magnitude(weight: Tensor) -> Tensor:
    """Return ``|w|``, the score of gradual magnitude pruning (Zhu and Gupta, 2018).

    Args:
        weight: (out_features, in_features).
    """
    return weight.detach().abs()


def add_movement(scores: Tensor, weight: Tensor, gradient: Tensor) -> None:
    """Subtract ``w * gradient`` from ``scores``, in place (movement pruning, Sanh et al., 2020, equation 5).

    Summed over training steps, the score is high where the optimizer moves weights away from zero. The
    paper's factor, the learning rate of the scores, changes no order and is left out.

    Args:
        scores: (out_features, in_features), float32, of the steps so far.
        weight: (out_features, in_features), before the optimizer's step.
        gradient: (out_features, in_features), of the loss in the weight.
    """
    scores.addcmul_(weight.detach(), gradient.detach(), value=-1)


def loss_increase(weights: Tensor, solved: Tensor, group: int) -> Tensor:
    """Return what pruning costs (Optimal BERT Surgeon, Kurtic et al., 2022): ``w_Bᵀ ([F⁻¹]_BB)⁻¹ w_B / 2``.

    For a single weight this is ``w² / (2 [F⁻¹]_ii)``. The score of a group is spread evenly over its
    entries, so that their sum is the group's.

    Args:
        weights: (..., num), with ``num`` a multiple of ``group``.
        solved: (..., num), ``([F⁻¹]_BB)⁻¹ w_B`` (``core.fisher.solve_groups``).
        group: how many consecutive weights are pruned together.
    """
    products = (weights * solved / 2).reshape(-1, group)
    return products.mean(-1, keepdim=True).expand(-1, group).reshape(weights.shape)
