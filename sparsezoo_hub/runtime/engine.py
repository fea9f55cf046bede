"""The engine: the compiled kernels, if this installation has them, and which of them are used.

They are plain C++ behind a plain C interface, know nothing of torch and Python, and use the OpenMP runtime
that torch has loaded: two in one process would fight for the cores.
"""

import ctypes
import functools
import os
import re
import warnings
from pathlib import Path

import torch

from sparsezoo_hub.core.names import check_choice

LIBRARY = Path(__file__).with_name("_kernels.so")
# Which instruction set is used: a name that ``instruction_sets`` gives, or ``torch`` for none of them.
VARIABLE = "SPARSEZOO_HUB_INSTRUCTIONS"
TORCH = "torch"

_OPENMP = re.compile(r"/lib(gomp|iomp5|omp)[^/]*\.(so|dylib)[^/]*$")


class Linear(ctypes.Structure):
    """``Linear`` of ``kernels/interface.h``."""

    _fields_ = (
        ("num_outputs", ctypes.c_int32),
        ("num_inputs", ctypes.c_int32),
        ("block", ctypes.c_int32),
        ("starts", ctypes.c_void_p),
        ("inputs", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("bfloats", ctypes.c_void_p),
        ("dense_bfloats", ctypes.c_void_p),
        ("codes", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("dense_codes", ctypes.c_void_p),
        ("inverse_scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
    )


class Linears(ctypes.Structure):
    """``Linears`` of ``kernels/interface.h``."""

    _fields_ = (("number", ctypes.c_int32), ("parts", ctypes.POINTER(Linear)))


class Layer(ctypes.Structure):
    """``Layer`` of ``kernels/interface.h``."""

    _fields_ = (
        ("projections", Linears),
        ("mixed", Linears),
        ("up", Linears),
        ("down", Linears),
        ("attention_gain", ctypes.c_void_p),
        ("attention_bias", ctypes.c_void_p),
        ("output_gain", ctypes.c_void_p),
        ("output_bias", ctypes.c_void_p),
    )


class Encoder(ctypes.Structure):
    """``Encoder`` of ``kernels/interface.h``."""

    _fields_ = (
        ("num_layers", ctypes.c_int32),
        ("hidden_size", ctypes.c_int32),
        ("intermediate_size", ctypes.c_int32),
        ("num_heads", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("may_round_attention", ctypes.c_int32),
        ("epsilon", ctypes.c_float),
        ("layers", ctypes.POINTER(Layer)),
    )


def instruction_sets() -> tuple[str, ...]:
    """Return the names of the instruction sets that can be used here, the best first, ``torch`` last."""
    library = _library()
    return (TORCH,) if library is None else (*library.sparse_instructions().decode().split(","), TORCH)


def chosen_instructions() -> str:
    """Return the instruction set that is used: that of the environment variable, else the best.

    Raises:
        ValueError: if the variable names one that cannot be used here.
    """
    sets = instruction_sets()
    named = os.environ.get(VARIABLE)
    if named:
        return check_choice(named, sets, f"instruction set ({VARIABLE}) on this machine")
    return sets[0]


def run_kernels(
    instructions: str, encoder: Encoder, hidden: torch.Tensor, starts: torch.Tensor
) -> torch.Tensor:
    """Return what the compiled encoder makes of sequences.

    Args:
        instructions: of ``instruction_sets``, not ``torch``.
        encoder: whose pointers lead to memory that is there.
        hidden: (num_tokens, hidden_size) float32, contiguous, sequences one after the other.
        starts: (num_sequences + 1,) int32, where each begins, and at the end num_tokens.

    Raises:
        MemoryError: if there is not enough memory.
    """
    library = _library()
    if library is None:
        raise RuntimeError("the kernels are not there")
    output = torch.empty_like(hidden)
    answer = library.sparse_encode(
        instructions.encode(),
        ctypes.byref(encoder),
        hidden.data_ptr(),
        output.data_ptr(),
        starts.data_ptr(),
        len(starts) - 1,
    )
    if answer:
        raise MemoryError(
            f"{len(hidden)} tokens at once take more memory than there is: take smaller batches"
        )
    return output


@functools.cache
def _library() -> ctypes.CDLL | None:
    if not LIBRARY.exists():
        _warn(
            "were not compiled when this package was installed; install a C++ compiler and sparsezoo-hub "
            "again"
        )
        return None
    openmp = _loaded_openmp()
    if openmp is not None:
        ctypes.CDLL(openmp, mode=ctypes.RTLD_GLOBAL)
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:  # no OpenMP runtime, or one of another kind
        _warn(f"could not be loaded ({error})")
        return None
    library.sparse_instructions.restype = ctypes.c_char_p
    pointer = ctypes.c_void_p
    library.sparse_encode.argtypes = [ctypes.c_char_p, pointer, pointer, pointer, pointer, ctypes.c_int32]
    library.sparse_encode.restype = ctypes.c_int32
    return library


def _loaded_openmp() -> str | None:
    """Return the file of the OpenMP runtime that torch has brought into this process."""
    try:
        mapped = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    files = (line.split(maxsplit=5)[-1] for line in mapped.splitlines() if "/" in line)
    return next((file for file in files if _OPENMP.search(file)), None)


def _warn(why: str) -> None:
    # Once, as whoever asks for the library is answered from the cache afterwards.
    warnings.warn(
        f"the sparse engine's kernels ({LIBRARY.name}) {why}: sparse models are computed by torch, correctly "
        "but no faster than dense ones",
        stacklevel=2,
    )
