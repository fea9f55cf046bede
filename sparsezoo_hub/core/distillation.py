"""Knowledge distillation: from logits, hidden states and attentions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

# The entries of a softmax in bfloat16 are off by one part in 512 at most; dropout changes a sum far more.
_ROW_SUM_TOLERANCE = 0.02
# What student and teacher must have in common, and where it stands in the shape.
_SIZES = {"attention": ("number of attention heads", 1), "hidden state": ("hidden size", -1)}


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    num_positions: Tensor | int | None = None,
) -> Tensor:
    """Return ``T^2 * KL(teacher || student)``, averaged over positions (Prune OFA, equation 2).

    The KL divergence differs from the soft cross-entropy of equation 2 by the teacher's entropy, a
    constant; the factor T^2 keeps its gradient's size when the temperature changes (Hinton et al., 2015).

    Args:
        student_logits: (num_positions, num_classes), only the positions that count: masked ones for
            masked LM, one per text for classification.
        teacher_logits: same shape.
        temperature: above 0; the logits are divided by it.
        num_positions: what the mean is over if these are a part of a larger batch; None for these alone.
    """
    divergence = F.kl_div(
        F.log_softmax(student_logits.float() / temperature, dim=-1),
        F.log_softmax(teacher_logits.float() / temperature, dim=-1),
        reduction="sum",
        log_target=True,
    )
    return temperature**2 * divergence / (len(student_logits) if num_positions is None else num_positions)


def combined_loss(
    task_loss: Tensor,
    distilled_loss: Tensor,
    distillation_weight: float,
    task_weight: float | None = None,
) -> Tensor:
    """Return ``task_weight * task_loss + distillation_weight * distilled_loss`` (Prune OFA, equation 3).

    Args:
        task_loss: of the labels.
        distilled_loss: of the teacher.
        distillation_weight: lambda_kd; in the terms of the other two papers, the hardness.
        task_weight: lambda_PT; without it one minus ``distillation_weight``, as a hardness means it.
    """
    if task_weight is None:
        task_weight = 1 - distillation_weight
    return task_weight * task_loss + distillation_weight * distilled_loss


def teacher_layers(num_student: int, num_teacher: int) -> tuple[int, ...]:
    """Return, for each of the student's hidden states, which of the teacher's it learns from.

    The uniform mapping of TinyBERT (Jiao et al., 2020): embeddings (0) from embeddings, layer ``i`` of
    ``num_student`` from layer ``i * num_teacher / num_student``, both counted from 1. Where that is no
    whole number it is rounded up, so that no layer learns from the embeddings, the last one learns from the
    last one, and a student that is not deeper than its teacher uses no teacher layer twice.

    Args:
        num_student: layers of the student, at least 1.
        num_teacher: layers of the teacher, at least 1.

    Returns:
        ``num_student + 1`` indices into the teacher's hidden states.

    Raises:
        ValueError: if a number is below 1.
    """
    if min(num_student, num_teacher) < 1:
        raise ValueError(f"a model has at least 1 layer, got {num_student} and {num_teacher}")
    return tuple(-(-layer * num_teacher // num_student) for layer in range(num_student + 1))


def hidden_state_loss(
    student_hidden: Sequence[Tensor],
    teacher_hidden: Sequence[Tensor],
    attention_mask: Tensor,
    num_tokens: Tensor | int | None = None,
) -> Tensor:
    """Return the mean squared error of the hidden states, averaged over positions and layers.

    TinyBERT's losses of embeddings and hidden states (equations 8 and 9) without the learned projection.

    Args:
        student_hidden: embeddings and every layer's output (``output_hidden_states=True``), each of
            (batch, sequence, hidden_size).
        teacher_hidden: the same of the teacher, which may have another number of layers and another dtype;
            ``teacher_layers`` pairs them.
        attention_mask: (batch, sequence), 0 where there is padding. Padding does not count.
        num_tokens: what the mean is over if this is a part of a larger batch; None for this one alone.

    Raises:
        ValueError: if the shapes of the two differ, or the mask keeps nothing.
    """
    _check_shapes("hidden state", student_hidden, teacher_hidden, attention_mask)
    kept = _kept(attention_mask)
    pairs = teacher_layers(len(student_hidden) - 1, len(teacher_hidden) - 1)
    losses = [
        F.mse_loss(_rows(student, kept), _rows(teacher_hidden[layer], kept), reduction="sum")
        for student, layer in zip(student_hidden, pairs, strict=True)
    ]
    num_tokens = kept.numel() if num_tokens is None else num_tokens
    return torch.stack(losses).mean() / (num_tokens * student_hidden[0].shape[-1])


def attention_loss(
    student_attentions: Sequence[Tensor],
    teacher_attentions: Sequence[Tensor],
    attention_mask: Tensor,
    num_tokens: Tensor | int | None = None,
) -> Tensor:
    """Return ``KL(teacher || student)`` of the attention probabilities, averaged over queries, heads, layers.

    The attention transfer of MobileBERT (Sun et al., 2020), which MiniLM (Wang et al., 2020) applies to the
    last layer only. TinyBERT's mean squared error takes scores from before the softmax, which transformers
    does not return. Layers are paired as for the hidden states.

    Args:
        student_attentions: every layer's probabilities (``output_attentions=True`` with
            ``attn_implementation="eager"``), each of (batch, heads, sequence, sequence), the queries third.
            transformers returns them after dropout, so the student's attention dropout must be 0.
        teacher_attentions: the same of the teacher, which may have another number of layers and another
            dtype.
        attention_mask: (batch, sequence), 0 where there is padding. Padding counts neither as query nor as
            key.
        num_tokens: as in ``hidden_state_loss``.

    Raises:
        ValueError: if the shapes of the two differ, the mask keeps nothing, or the student's probabilities
            of a kept query do not sum to 1 over the kept keys.
    """
    _check_shapes("attention", student_attentions, teacher_attentions, attention_mask)
    kept = _kept(attention_mask)
    keys = attention_mask.bool()[:, None, None, :]
    pairs = teacher_layers(len(student_attentions), len(teacher_attentions))[1:]
    losses, deviations = [], []
    for student, layer in zip(student_attentions, pairs, strict=True):
        # What lies under a padded key is replaced, not multiplied by 0: it may be nan.
        learned = _rows(student.masked_fill(~keys, 0.0).transpose(1, 2), kept)
        taught = _rows(teacher_attentions[layer - 1].masked_fill(~keys, 0.0).transpose(1, 2), kept)
        deviations.append((learned.detach().sum(dim=-1) - 1).abs().max())
        # Where both are 0, kl_div gives 0; the bound keeps a probability that underflowed finite.
        logarithms = learned.clamp_min(torch.finfo(torch.float32).tiny).log()
        losses.append(F.kl_div(logarithms, taught, reduction="sum") / student.shape[1])
    deviation = float(torch.stack(deviations).max())
    if deviation > _ROW_SUM_TOLERANCE:  # nan is for whoever watches the loss
        raise ValueError(
            f"the student's attention probabilities sum to 1 only up to {deviation:.3f}: set its attention "
            "dropout (attention_probs_dropout_prob, DistilBERT's attention_dropout) to 0 and give it the "
            "attention mask"
        )
    return torch.stack(losses).mean() / (kept.numel() if num_tokens is None else num_tokens)


def _check_shapes(
    what: str, student: Sequence[Tensor], teacher: Sequence[Tensor], attention_mask: Tensor
) -> None:
    if not student or not teacher or any(each is None for each in (*student, *teacher)):
        raise ValueError(
            f"there is no {what} to compare: call both models with output_{what.replace(' ', '_')}s=True"
            ' and, for attentions, load them with attn_implementation="eager"'
        )
    ours, theirs = tuple(student[0].shape), tuple(teacher[0].shape)
    size, axis = _SIZES[what]
    if ours[axis] != theirs[axis]:
        raise ValueError(
            f"the student's {size} is {ours[axis]} and the teacher's {theirs[axis]}: a loss of {what}s "
            "needs the same one; distil from the logits only, or choose another teacher"
        )
    if ours != theirs:
        raise ValueError(f"the student's {what}s have the shape {ours}, the teacher's {theirs}")
    expected = (ours[0], ours[-2])
    if tuple(attention_mask.shape) != expected:
        raise ValueError(
            f"the attention mask must have the shape (batch, sequence) = {expected}, "
            f"got {tuple(attention_mask.shape)}"
        )


def _kept(attention_mask: Tensor) -> Tensor:
    """Return the indices of the kept positions among all of (batch * sequence)."""
    kept = attention_mask.flatten().nonzero().squeeze(1)
    if not kept.numel():
        raise ValueError("the attention mask keeps no position of the batch: there is nothing to compare")
    return kept


def _rows(values: Tensor, kept: Tensor) -> Tensor:
    """Return the kept positions of (batch, sequence, ...) as float32."""
    return values.flatten(0, 1).index_select(0, kept).float()
