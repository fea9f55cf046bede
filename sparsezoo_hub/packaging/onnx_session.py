"""ONNX Runtime sessions: quiet, exact, and with one line about what goes wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsezoo_hub.errors import PackageError

_FATAL = 4
# On x86 processors without VNNI, ONNX Runtime multiplies uint8 by int8 in pairs whose sum is cut to 16 bits.
# With this it computes exactly there too; with VNNI results are the same bits, and take twice as long.
EXACT_INT8 = ("session.x64quantprecision", "1")


def has_vnni() -> bool:
    """Return whether the processor adds four products of bytes in 32 bits, so that nothing is cut off."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_vnni") or found.get("avx_vnni"))


def session_options(num_threads: int = 0) -> onnxruntime.SessionOptions:
    """Return the options of every session here: int8 computed exactly, errors raised and not logged.

    Args:
        num_threads: of an operation; 0 for as many as there are cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = _FATAL
    if not has_vnni():
        options.add_session_config_entry(*EXACT_INT8)
    return options


def onnx_session(path: Path, num_threads: int = 0) -> onnxruntime.InferenceSession:
    """Return a session of the ONNX file at ``path`` on the CPU.

    Args:
        path: the file.
        num_threads: as in ``session_options``.

    Raises:
        PackageError: if the file cannot be run.
    """
    try:
        return onnxruntime.InferenceSession(
            path, session_options(num_threads), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise PackageError(f"{path} cannot be run: {' '.join(str(error).split())}") from None


def run_session(
    session: onnxruntime.InferenceSession, batch: Mapping[str, Tensor]
) -> list[NDArray[np.floating[Any]]]:
    """Return the outputs for a batch; inputs that the model does not take are left out.

    Args:
        session: of ``onnx_session``.
        batch: each tensor (batch, length).

    Raises:
        PackageError: if ONNX Runtime refuses.
    """
    options = onnxruntime.RunOptions()
    options.log_severity_level = _FATAL
    inputs = {each.name: batch[each.name].cpu().numpy() for each in session.get_inputs()}
    try:
        return list(session.run(None, inputs, options))
    except Exception as error:
        raise PackageError(f"the ONNX model cannot be run: {' '.join(str(error).split())}") from None
