"""Compilation: the encoder's layers as torch.compile's kernels while a stage is trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from sparsezoo_hub.core.layer_dropping import layer_stack
from sparsezoo_hub.core.targets import base_model


@contextmanager
def compiled_layers(models: Sequence[nn.Module]) -> Iterator[None]:
    """Compile each layer by itself; afterwards the models are as they were.

    All layers of a model are the same code, which is compiled once (and once more for another length), in
    seconds where the whole model takes minutes. What is around them, embeddings and head, has sizes that
    change with every batch.

    Args:
        models: BERT, RoBERTa or DistilBERT of transformers, with any head.

    Raises:
        ValueError: if a model's layers are not where those have them.
    """
    layers = [layer for model in models for layer in layer_stack(base_model(model)).layer]
    for layer in layers:
        layer.compile()
    try:
        yield
    finally:
        for layer in layers:
            layer._compiled_call_impl = None
