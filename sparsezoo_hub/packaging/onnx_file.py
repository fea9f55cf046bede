"""ONNX files, written so that every loader finds the weights."""

from pathlib import Path

import onnx_ir

# A protobuf message ends at 2 GiB; the rest is room for the graph.
_LARGEST = 2**31 - 2**26


def write_onnx(program: onnx_ir.Model, path: Path) -> None:
    """Write a model with its weights in one file, as ONNX models are on the Hub.

    optimum downloads no other file. transformers' ``ExportedModel`` asks for ``NAME.data`` all the same: it
    is empty, or has the weights of a model above 2 GiB, which no single file can hold.

    Args:
        program: the model.
        path: ``NAME``, in a folder that exists.
    """
    data = path.with_name(f"{path.name}.data")
    size = sum(each.const_value.nbytes for each in program.graph.initializers.values() if each.const_value)
    if size > _LARGEST:
        onnx_ir.save(program, path, external_data=data.name)
        return
    onnx_ir.save(program, path)
    data.write_bytes(b"")
