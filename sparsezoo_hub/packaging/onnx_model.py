"""The ONNX model of a package, called like the model that it came from."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.exporters.base import ExportedModel

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.onnx_session import session_options
from sparsezoo_hub.packaging.quiet import quiet

_SEGMENTS = "token_type_ids"


class OnnxModel(nn.Module):
    """An exported model as a module, for code that judges modules.

    It has no weights that PyTorch knows and cannot be trained.

    Args:
        exported: of ``transformers.exporters``.
    """

    def __init__(self, exported: ExportedModel) -> None:
        super().__init__()
        self.exported = exported
        self.config = exported.config
        # Whoever asks a module for its device asks a parameter.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, **inputs: Any) -> Any:
        """Return what the model that was exported returns, computed by ONNX Runtime on the CPU.

        Args:
            inputs: as of that model, tensors of (batch, length); what the export does not take is left out,
                and without ``token_type_ids`` all is of the first segment, as in the model itself.
        """
        (component,) = self.exported.components.values()
        if _SEGMENTS in component.metadata.kwargs and _SEGMENTS not in inputs:
            inputs[_SEGMENTS] = torch.zeros_like(inputs["input_ids"])
        with quiet():  # which says what it leaves out
            return self.exported(**inputs)


def load_onnx_model(folder: Path, subfolder: str) -> OnnxModel:
    """Return a package's ONNX model.

    Args:
        folder: a package.
        subfolder: ``onnx`` or ``onnx-int8``.

    Raises:
        PackageError: if there is none, or it cannot be run.
    """
    if not (folder / subfolder).is_dir():
        raise PackageError(
            f"{folder} has no {subfolder}: name a package that has it, or write it with sparsezoo-hub export"
        )
    try:
        with quiet():
            exported = ExportedModel.from_pretrained(
                folder, subfolder=subfolder, device="cpu", session_options=session_options()
            )
    except Exception as error:  # whatever transformers and onnxruntime raise on such a folder
        raise PackageError(f"{folder / subfolder} cannot be run: {' '.join(str(error).split())}") from None
    return OnnxModel(exported)
