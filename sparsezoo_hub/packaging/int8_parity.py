"""Int8 parity: how close ONNX Runtime's integers are to the same rounding in PyTorch."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.core.fake_quantization import LayerRanges, apply_ranges
from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.onnx_export import Inputs, model_outputs, tokenized_batches
from sparsezoo_hub.packaging.onnx_session import onnx_session, run_session

# Of the outputs' standard deviation: below it, differences are those of float arithmetic.
FLOOR = 1e-3

Outputs = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Int8Parity:
    """How far ONNX Runtime's int8 is from PyTorch's, in standard deviations of the outputs.

    Args:
        mean_difference: of ONNX Runtime from the fake-quantized model in PyTorch, over all output values.
        max_difference: the largest of these.
        rounding: how far the fake-quantized model is from the float model, in the mean: what int8 costs.
        num_texts: how many texts were compared on.
    """

    mean_difference: float
    max_difference: float
    rounding: float
    num_texts: int


def check_onnx_int8(
    model: PreTrainedModel,
    ranges: Mapping[str, LayerRanges],
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    path: Path,
) -> Int8Parity:
    """Return how close the int8 ONNX file is to the model with its layers fake-quantized by the same ranges.

    Both round alike, but a value between two codes may fall to either side, for their floats differ in the
    last digits; what follows is then rounded anew. So the limit is not a number, but what rounding itself
    does: in the mean, ONNX Runtime must be nearer to the fake-quantized model than the float model is. A
    wrong range, a wrong weight's layer or a product that overflows is further away.

    Args:
        model: with float weights; stays as it is.
        ranges: that the file was written with.
        tokenizer: the model's own.
        texts: as for ``check_onnx``.
        path: the int8 ONNX file.

    Raises:
        PackageError: if the file cannot be run, has other outputs, or is further away.
        QuantizationError: if the ranges do not fit the model.
    """
    batches = tokenized_batches(model, tokenizer, texts)
    session = onnx_session(path)
    outputs = [run_session(session, batch) for batch in batches]
    return check_int8_outputs(
        model, ranges, batches, outputs, what=f"{path}: ONNX Runtime's int8", num_texts=len(texts)
    )


def check_int8_outputs(
    model: PreTrainedModel,
    ranges: Mapping[str, LayerRanges],
    batches: Sequence[Inputs],
    outputs: list[Outputs],
    *,
    what: str,
    num_texts: int,
    torch_outputs: Callable[[PreTrainedModel, Inputs], Outputs] = model_outputs,
) -> Int8Parity:
    """Return how close outputs are to those of the fake-quantized model; the limit is as above.

    Args:
        model: with float weights; stays as it is.
        ranges: that it is fake-quantized by.
        batches: the inputs.
        outputs: of each batch, by whatever computes in int8.
        what: computed them, for messages.
        num_texts: in the batches, for the result.
        torch_outputs: what of PyTorch's outputs is compared.

    Raises:
        PackageError: if the outputs have other shapes, or are further away.
        QuantizationError: if the ranges do not fit the model.
    """
    rounded = copy.deepcopy(model)
    apply_ranges(rounded, ranges)
    rounded.train(False)
    training = model.training
    model.train(False)
    try:
        floats = [torch_outputs(model, batch) for batch in batches]
    finally:
        model.train(training)
    expected = [torch_outputs(rounded, batch) for batch in batches]
    if [[each.shape for each in batch] for batch in outputs] != [
        [each.shape for each in batch] for batch in expected
    ]:
        raise PackageError(f"{what} has outputs of other shapes than PyTorch's; export again")
    found, effect = _differences(outputs, expected), _differences(floats, expected)
    parity = Int8Parity(
        mean_difference=float(found.mean()),
        max_difference=float(found.max()),
        rounding=float(effect.mean()),
        num_texts=num_texts,
    )
    limit = max(parity.rounding, FLOOR)
    if not parity.mean_difference <= limit:  # also refuses nan
        raise PackageError(
            f"{what} differs from PyTorch's by {parity.mean_difference:.3g} standard deviations of the "
            f"outputs on {num_texts} texts, the limit is {limit:.3g}; export again, and report this if it "
            "stays"
        )
    return parity


def _differences(found: list[Outputs], expected: list[Outputs]) -> NDArray[np.float64]:
    """Return every value's absolute difference, in standard deviations of its output over all batches."""
    each_output = []
    for output in range(len(expected[0])):
        values = [np.concatenate([batch[output].ravel() for batch in each]) for each in (found, expected)]
        deviation = float(values[1].std(dtype=np.float64)) or 1.0
        each_output.append(np.abs(values[0] - values[1], dtype=np.float64) / deviation)
    return np.concatenate(each_output)
