"""Sparse models: models of transformers whose encoder the sparse engine computes."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils.hub import resolve_revision

from sparsezoo_hub.core.fake_quantization import LayerRanges
from sparsezoo_hub.core.layer_dropping import layer_stack
from sparsezoo_hub.core.targets import base_model
from sparsezoo_hub.packaging.quantization_file import read_ranges
from sparsezoo_hub.runtime.encoder_packing import dtype_name, pack_encoder
from sparsezoo_hub.runtime.packed_encoder import PackedEncoder
from sparsezoo_hub.runtime.packed_model import load_packed, own_saving, save_packed
from sparsezoo_hub.runtime.packed_snapshot import FETCHING, find_packed, find_ranges
from sparsezoo_hub.runtime.sparse_encoder import ATTENTION, SparseEncoder, sparse_encoder_of


class SparseModel:
    """Makes models whose encoder the sparse engine computes, on the CPU and for inference.

    They are of transformers' own classes, so pipelines and everything else take them.
    """

    @staticmethod
    def from_model(
        model: PreTrainedModel,
        ranges: Mapping[str, LayerRanges] | None = None,
        *,
        dtype: torch.dtype | None = None,
        attention: torch.dtype | None = None,
    ) -> PreTrainedModel:
        """Return a model that computes what ``model`` does; ``model`` itself is left as it is.

        Args:
            model: a BERT, RoBERTa or DistilBERT with any head, pruned or not, in whatever dtype.
            ranges: by component name, of the layers to compute in int8; layers that are fake-quantized, with
                their ranges frozen, are computed by these without being named.
            dtype: of the encoder's other layers, float32 or bfloat16; None is bfloat16 for weights that are,
                else float32.
            attention: in what attention may be computed, float32 or bfloat16, if the processor multiplies
                it; None is bfloat16 if a layer is in int8 or bfloat16, else float32.

        Raises:
            BackboneError: if it is none of those.
            QuantizationError: if the ranges do not fit the model.
        """
        return _with_encoder(model, pack_encoder(model, ranges, dtype, attention))

    @staticmethod
    def from_pretrained(
        reference: str | Path, *, attention: torch.dtype | None = None, **options: Any
    ) -> PreTrainedModel:
        """Return the model of a folder or a Hub repository, with the head that it was saved with.

        A packed model, there or in ``sparse/``, is mapped into memory; nothing else is fetched. Where there
        is none, or with options on how to make a model, the model itself is loaded and packed, in int8 if it
        has ``quantization.safetensors`` beside it.

        Args:
            reference: what transformers' ``from_pretrained`` takes.
            attention: as in ``from_model``; None is that of a packed model.
            options: as ``reference``, for example ``revision``, ``token``, ``subfolder`` and ``dtype``.

        Raises:
            BackboneError: if it is no BERT, RoBERTa or DistilBERT.
            PackageError: if the packed model, or the file of ranges, is damaged.
            QuantizationError: if the ranges do not fit the model.
        """
        options["revision"] = resolve_revision(
            reference,
            revision=options.get("revision"),
            token=options.get("token"),
            local_files_only=options.get("local_files_only", False),
            cache_dir=options.get("cache_dir"),
        )
        fetching = {name: options[name] for name in FETCHING if name in options}
        packed = find_packed(reference, fetching) if fetching.keys() == options.keys() else None
        if packed is not None:
            loaded = load_packed(packed)
            if attention is not None:
                layers: Any = sparse_encoder_of(loaded)
                layers.encoder = layers.encoder.with_attention(dtype_name(attention))
            return loaded
        config = AutoConfig.from_pretrained(reference, **options)
        architecture = (config.architectures or [""])[0]
        model = getattr(transformers, architecture, AutoModel).from_pretrained(reference, **options)
        ranges = find_ranges(reference, fetching)
        found = None if ranges is None else read_ranges(ranges).ranges
        return SparseModel.from_model(model, found, attention=attention)

    @staticmethod
    def save_pretrained(model: PreTrainedModel, folder: str | Path) -> None:
        """Write a sparse model as a packed one, which ``from_pretrained`` maps into memory.

        ``model.save_pretrained(folder)`` does the same.

        Args:
            model: what ``from_model`` or ``from_pretrained`` returned.
            folder: is created if it is not there; a packed model in it is replaced.

        Raises:
            BackboneError: if it is no sparse model, or of a class that transformers does not have.
            PackageError: if there is another model in the folder, or the disk refuses.
        """
        save_packed(model, Path(folder))


def _with_encoder(model: PreTrainedModel, encoder: PackedEncoder) -> PreTrainedModel:
    # What is already in the memory of a deep copy is taken for copied: the layers are not.
    stack: nn.Module = layer_stack(base_model(model))
    copied: Any = copy.deepcopy(model, {id(stack): SparseEncoder(encoder)})
    copied.config._attn_implementation = ATTENTION
    sparse: PreTrainedModel = copied.float().cpu().eval().requires_grad_(False)
    own_saving(sparse)
    return sparse
