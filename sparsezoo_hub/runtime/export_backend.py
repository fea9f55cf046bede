"""The export backend: packed models as one more format of ``transformers.exporters``.

``import sparsezoo_hub`` registers it as soon as transformers' exporters are imported.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.exporters.auto import register_backend
from transformers.exporters.base import HfExporter
from transformers.exporters.configs import ExportConfigMixin
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.runners.base import ModelRunner

from sparsezoo_hub.runtime.packed_model import (
    EXPORT_FORMAT,
    PACKED_FILE,
    export_metadata,
    load_packed,
    write_packed,
)
from sparsezoo_hub.runtime.sparse_model import SparseModel


@dataclass
class SparseConfig(ExportConfigMixin):
    """The configuration of an export for the sparse engine: there is nothing to choose."""

    export_format: str = EXPORT_FORMAT


class SparseExporter(HfExporter):
    """Exports models for the sparse engine."""

    config_class = SparseConfig
    export_format = EXPORT_FORMAT
    program_prefix, _, program_suffix = PACKED_FILE.partition("model")

    def export_program(
        self, model: PreTrainedModel, sample_inputs: MutableMapping[str, Any], config: ExportConfigMixin
    ) -> tuple[PreTrainedModel, ExportMetadata]:
        """Return the sparse model; any batch of any length fits it, whatever the sample inputs are.

        Raises:
            BackboneError: if the engine does not compute the model.
        """
        del sample_inputs, config
        sparse = SparseModel.from_model(model)
        return sparse, ExportMetadata(**export_metadata(sparse))

    @classmethod
    def save_program(cls, program: PreTrainedModel, path: str | Path) -> None:
        """Write the packed file."""
        write_packed(program, Path(path))

    @classmethod
    def load_program(cls, path: str | Path) -> PreTrainedModel:
        """Return the model of a packed file and the ``config.json`` beside it."""
        return load_packed(Path(path))


class SparseRunner(ModelRunner):
    """Runs a sparse model, and returns what it returns.

    Args:
        program: of ``SparseExporter``.
        metadata: likewise.
    """

    def __init__(self, program: PreTrainedModel, metadata: ExportMetadata) -> None:
        # The base class prepares to rebuild outputs from flat ones; these are never taken apart.
        self.program = program
        self.metadata = metadata

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @classmethod
    def from_program(cls, program: Any, metadata: ExportMetadata, device: Any = None) -> "SparseRunner":
        """Return a runner of a sparse model.

        Raises:
            ValueError: if ``device`` is another one than the CPU.
        """
        if torch.device(device or "cpu").type != "cpu":
            raise ValueError(f"the sparse engine computes on the CPU, not on {device}")
        return cls(program, metadata)

    @torch.no_grad()
    def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **inputs: Tensor) -> Any:
        """Return the model's own output."""
        del share_inputs, share_outputs  # nothing is copied either way
        return self.program(**inputs)


register_backend(SparseExporter, SparseRunner)
