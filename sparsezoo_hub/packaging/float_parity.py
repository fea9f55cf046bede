"""Float parity: how close another runtime of a model is to PyTorch on real inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from sparsezoo_hub.errors import PackageError

TOLERANCE = 1e-3


@dataclass(frozen=True)
class FloatParity:
    """How far a runtime is from PyTorch.

    ``max_abs_diff`` is the largest absolute difference of any output value over ``num_texts`` texts in
    ``num_batches`` batches of different sizes, ``num_padded`` of them with padding, up to ``longest`` tokens.
    """

    max_abs_diff: float
    num_texts: int
    num_batches: int
    num_padded: int
    longest: int
    tolerance: float = TOLERANCE


def float_parity(
    largest: float,
    batches: Sequence[Mapping[str, Tensor]],
    num_texts: int,
    what: str,
    tolerance: float = TOLERANCE,
) -> FloatParity:
    """Return the parity of a runtime whose outputs differ by at most ``largest``.

    Args:
        largest: difference of any output value.
        batches: that were compared on.
        num_texts: in them.
        what: the runtime, for the message.
        tolerance: the largest difference that is allowed.

    Raises:
        PackageError: if ``largest`` is above it, or not a number.
    """
    if not largest <= tolerance:  # also refuses nan
        raise PackageError(
            f"{what} differs from PyTorch by {largest:.3g} on {num_texts} texts, the limit is {tolerance:g}; "
            "export a float32 model, and report this if it is one"
        )
    return FloatParity(
        max_abs_diff=largest,
        num_texts=num_texts,
        num_batches=len(batches),
        num_padded=sum(bool((batch["attention_mask"] == 0).any()) for batch in batches),
        longest=max(batch["input_ids"].shape[1] for batch in batches),
        tolerance=tolerance,
    )
