"""ONNX export through ``transformers.exporters``, checked against PyTorch on real inputs."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch.export import Dim
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.exporters.base import ExportedModel
from transformers.exporters.configs import OnnxConfig
from transformers.exporters.exporter_onnx import OnnxExporter

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.float_parity import FloatParity, float_parity
from sparsezoo_hub.packaging.layout import ONNX_MODEL
from sparsezoo_hub.packaging.onnx_file import write_onnx
from sparsezoo_hub.packaging.onnx_session import onnx_session, run_session
from sparsezoo_hub.packaging.quiet import quiet

# One text alone has no padding; the others have texts of different lengths side by side.
_BATCH_SIZES = (1, 2, 5, 3)
# These number their positions from the padding index on, so that many fewer tokens fit.
_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert")

_BATCH, _LENGTH = "batch", "length"
_SYMBOL = re.compile(r"\bs\d+\b")

Inputs = dict[str, torch.Tensor]


def export_onnx(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], folder: Path
) -> FloatParity:
    """Write the model as ONNX into ``folder``, and return how close it is to the model.

    Batch and length are dynamic. The model keeps its mode, its device and its pattern lock.

    Args:
        model: an encoder of transformers, with or without a head, with or without a lock.
        tokenizer: the model's own, with a padding token.
        texts: real inputs to compare on, at least two of different lengths.
        folder: is created; gets ``model.onnx``, its ``.data``, ``export.json`` and ``config.json``, as
            ``transformers.exporters.ExportedModel`` reads them.

    Raises:
        PackageError: if the texts cannot be compared on, or an output differs by more than ``TOLERANCE``.
    """
    batches = tokenized_batches(model, tokenizer, texts)
    training = model.training
    model.train(False)
    try:
        exported = _export(model, max(batches, key=lambda batch: batch["input_ids"].numel()))
        exported.save_pretrained(folder)
        write_onnx(exported.program, folder / Path(ONNX_MODEL).name)
        return check_onnx(model, tokenizer, texts, folder / Path(ONNX_MODEL).name)
    finally:
        model.train(training)


def check_onnx(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], path: Path
) -> FloatParity:
    """Return how close the ONNX file at ``path`` is to ``model`` on ``texts``.

    Raises:
        PackageError: if the texts cannot be compared on, the file cannot be run, or an output differs by
            more than ``TOLERANCE``.
    """
    batches = tokenized_batches(model, tokenizer, texts)
    session = onnx_session(path)
    training = model.training
    model.train(False)
    largest = 0.0
    try:
        for batch in batches:
            largest = _larger(largest, _difference(model, session, batch))
    finally:
        model.train(training)
    return float_parity(largest, batches, len(texts), f"{path}: ONNX Runtime")


def tokenized_batches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> list[Inputs]:
    """Return the texts as padded batches of different sizes on the model's device.

    The last batch but one has pairs, as next sentences and questions with their passages are, and so the
    second segment where a model knows two. The last batch is the longest text beside the shortest one.

    Raises:
        PackageError: if there are no two texts, or the tokenizer cannot pad.
    """
    if len(texts) < 2:  # noqa: PLR2004 - padding needs two
        raise PackageError(f"the ONNX check compares on real texts, at least 2, got {len(texts)}; give more")
    if tokenizer.pad_token_id is None:
        raise PackageError("the tokenizer has no padding token, so texts cannot be batched; set pad_token")
    groups: list[list[str] | list[tuple[str, str]]] = []
    start = 0
    while start < len(texts):
        size = _BATCH_SIZES[len(groups) % len(_BATCH_SIZES)]
        groups.append(list(texts[start : start + size]))
        start += size
    longest, shortest = max(texts, key=len), min(texts, key=len)
    groups.append([(shortest, longest), (shortest, shortest)])
    groups.append([longest, shortest])
    known = inspect.signature(model.forward).parameters
    batches = []
    for group in groups:
        encoded = tokenizer(
            group, padding=True, truncation=True, max_length=max_length(model, tokenizer), return_tensors="pt"
        )
        batches.append({name: encoded[name].to(model.device) for name in encoded if name in known})
    return batches


@torch.no_grad()
def model_outputs(model: PreTrainedModel, batch: Inputs) -> list[NDArray[np.float32]]:
    """Return every output tensor of the model for a batch, in the order of an ONNX export's outputs."""
    outputs = model(**batch).to_tuple()
    return [output.float().cpu().numpy() for output in outputs if isinstance(output, torch.Tensor)]


def max_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens fit into the model and its tokenizer."""
    config: Any = model.config
    positions: int = config.max_position_embeddings
    if config.model_type in _POSITIONS_AFTER_PADDING:
        positions -= config.pad_token_id + 1
    return min(positions, tokenizer.model_max_length)


def _export(model: PreTrainedModel, sample: Inputs) -> ExportedModel:
    # Named axes, the same for every input: left to itself, the exporter invents a batch per input.
    axes = {0: Dim(_BATCH, min=1), 1: Dim(_LENGTH, min=1, max=int(model.config.max_position_embeddings))}
    config = OnnxConfig(
        dynamic=True,
        dynamic_shapes=dict.fromkeys(sample, axes),
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    with quiet():
        exported = OnnxExporter().export(model, dict(sample), config)  # type: ignore[no-untyped-call]
    _name_axes(exported.program.graph)
    for graph in (exported.program.graph, *exported.program.functions.values()):
        for node in graph.all_nodes():
            # Stack traces, with the paths of the machine that exported.
            node.metadata_props.clear()
            node.doc_string = None
    return exported


def _name_axes(graph: Any) -> None:
    # The exporter drops the names it was given for numbered ones, s43 and s53.
    axes = {str(dim): name for dim, name in zip(graph.inputs[0].shape, (_BATCH, _LENGTH), strict=True)}
    values = [*graph.inputs, *(output for node in graph.all_nodes() for output in node.outputs)]
    for shape in (value.shape for value in values if value.shape is not None):
        for index, dim in enumerate(shape):
            if not isinstance(dim, int) and dim.value is not None:
                shape[index] = _SYMBOL.sub(lambda symbol: axes.get(symbol[0], symbol[0]), dim.value)


def _difference(model: PreTrainedModel, session: onnxruntime.InferenceSession, batch: Inputs) -> float:
    expected = model_outputs(model, batch)
    outputs = run_session(session, batch)
    if len(outputs) != len(expected):
        raise PackageError(
            f"the ONNX model has {len(outputs)} outputs, PyTorch {len(expected)}: export again"
        )
    return _largest(
        [float(np.abs(output - wanted).max()) for output, wanted in zip(outputs, expected, strict=True)]
    )


def _largest(values: list[float]) -> float:
    return float(np.max(values))  # nan, unlike with max(), always wins


def _larger(first: float, second: float) -> float:
    return _largest([first, second])
