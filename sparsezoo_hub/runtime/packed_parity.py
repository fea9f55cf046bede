"""Packed parity: how close a sparse model is to PyTorch on real inputs."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.packaging.float_parity import TOLERANCE, FloatParity, float_parity
from sparsezoo_hub.packaging.int8_parity import Int8Parity, check_int8_outputs
from sparsezoo_hub.packaging.onnx_export import Inputs, model_outputs

# bfloat16 has 8 bits: 2^-9 of a value is lost at the most, which the layers add up.
BFLOAT_TOLERANCE = 3e-2


def check_sparse(
    model: PreTrainedModel,
    sparse: PreTrainedModel,
    batches: Sequence[Inputs],
    num_texts: int,
    *,
    is_rounded: bool = False,
) -> FloatParity:
    """Return how close a sparse model is to the one that it was made of.

    Args:
        model: an encoder of transformers, in evaluation mode.
        sparse: of ``SparseModel``.
        batches: of ``tokenized_batches``.
        num_texts: in them.
        is_rounded: whether it computes in bfloat16.

    Raises:
        PackageError: if an output differs by more than ``TOLERANCE``; of one that is rounded, by more than
            ``BFLOAT_TOLERANCE`` of the largest output.
    """
    expected = [kept_outputs(model, batch) for batch in batches]
    differences = [
        np.abs(one - other).max(initial=0)
        for batch, theirs in zip(batches, expected, strict=True)
        for one, other in zip(kept_outputs(sparse, batch), theirs, strict=True)
    ]
    largest = max(float(np.abs(each).max(initial=0)) for theirs in expected for each in theirs)
    tolerance = BFLOAT_TOLERANCE * largest if is_rounded else TOLERANCE
    return float_parity(float(np.max(differences)), batches, num_texts, "the sparse engine", tolerance)


def check_sparse_int8(
    model: PreTrainedModel,
    ranges: Mapping[str, LayerRanges],
    sparse: PreTrainedModel,
    batches: Sequence[Inputs],
    num_texts: int,
) -> Int8Parity:
    """Return how close a sparse model in int8 is to PyTorch with the same rounding.

    Args:
        model: that it was made of, with float weights.
        ranges: of the layers in int8.
        sparse: of ``SparseModel``.
        batches: of ``tokenized_batches``.
        num_texts: in them.

    Raises:
        PackageError: if it is further away than ``check_int8_outputs`` allows.
        QuantizationError: if the ranges do not fit the model.
    """
    return check_int8_outputs(
        model,
        ranges,
        batches,
        [kept_outputs(sparse, batch) for batch in batches],
        what="the sparse engine's int8",
        num_texts=num_texts,
        torch_outputs=kept_outputs,
    )


def kept_outputs(model: PreTrainedModel, batch: Inputs) -> list[NDArray[np.float32]]:
    """Return the outputs of a model, those of tokens without the padding: the engine computes none there."""
    kept = batch["attention_mask"].bool().cpu().numpy()
    outputs = model_outputs(model, batch)
    return [each[kept] if each.shape[:2] == kept.shape else each for each in outputs]
