"""Packed parity: how close a sparse model is to PyTorch on real inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.int8_parity import Int8Parity, check_int8_outputs
from sparsezoo_hub.packaging.onnx_export import TOLERANCE, Inputs, model_outputs


@dataclass(frozen=True)
class SparseParity:
    """How far a sparse model is from PyTorch.

    ``max_abs_diff`` is the largest absolute difference of any output value, padding left out, over
    ``num_texts`` texts in ``num_batches`` batches, ``num_padded`` of them with padding, up to ``longest``
    tokens.
    """

    max_abs_diff: float
    num_texts: int
    num_batches: int
    num_padded: int
    longest: int
    tolerance: float = TOLERANCE


def check_sparse(
    model: PreTrainedModel, sparse: PreTrainedModel, batches: Sequence[Inputs], num_texts: int
) -> SparseParity:
    """Return how close a sparse model is to the one that it was made of.

    Args:
        model: an encoder of transformers, in evaluation mode.
        sparse: of ``SparseModel``.
        batches: of ``tokenized_batches``.
        num_texts: in them.

    Raises:
        PackageError: if an output differs by more than ``TOLERANCE``.
    """
    differences = [
        np.abs(found - expected).max(initial=0)
        for batch in batches
        for found, expected in zip(kept_outputs(sparse, batch), kept_outputs(model, batch), strict=True)
    ]
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:  # also refuses nan
        raise PackageError(
            f"the sparse engine differs from PyTorch by {largest:.3g} on {num_texts} texts, the limit is "
            f"{TOLERANCE:g}; export a float32 model, and report this if it is one"
        )
    return SparseParity(
        max_abs_diff=largest,
        num_texts=num_texts,
        num_batches=len(batches),
        num_padded=sum(bool((batch["attention_mask"] == 0).any()) for batch in batches),
        longest=max(batch["input_ids"].shape[1] for batch in batches),
    )


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
