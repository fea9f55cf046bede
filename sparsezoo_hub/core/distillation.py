"""Knowledge distillation from logits."""

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 * KL(teacher || student)``, averaged over positions (Prune OFA, equation 2).

    The KL divergence differs from the soft cross-entropy of equation 2 by the teacher's entropy, a
    constant; the factor T^2 keeps its gradient's size when the temperature changes (Hinton et al., 2015).

    Args:
        student_logits: (num_positions, num_classes), only the positions that count: masked ones for
            masked LM, one per text for classification.
        teacher_logits: same shape.
        temperature: above 0; the logits are divided by it.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student_logits.float() / temperature, dim=-1),
        F.log_softmax(teacher_logits.float() / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


def combined_loss(task_loss: Tensor, distilled_loss: Tensor, hardness: float) -> Tensor:
    """Return ``(1 - hardness) * task_loss + hardness * distilled_loss`` (Prune OFA, equation 3)."""
    return (1 - hardness) * task_loss + hardness * distilled_loss
