"""How far ONNX Runtime's int8 products are from exact ones, with and without `session.x64quantprecision`.

Usage: python benchmarks/int8_saturation.py MODEL [MODEL ...]

Each MODEL is a folder. Its ranges are calibrated on Python's documentation. Differences are means over all
outputs, in their standard deviations, from the same rounding in PyTorch.
"""

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from torch import Tensor

from sparsezoo_hub.cli.stored_model import load_stored_model, sample_texts
from sparsezoo_hub.core.fake_quantization import apply_ranges
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.layout import ONNX_INT8_MODEL
from sparsezoo_hub.packaging.onnx_export import export_onnx, model_outputs, tokenized_batches
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.packaging.onnx_session import onnx_session, run_session

Outputs = NDArray[np.float64]


def main() -> None:
    """Measure each model with one scale per weight, and with one per output feature."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path)
    print("| model | scales | without the option | with it | rounding itself |")
    print("|---|---|---|---|---|")
    for folder in parser.parse_args().models:
        for per_channel in (False, True):
            values = " | ".join(f"{value:.1e}" for value in measure(folder, per_channel))
            print(f"| {folder} | {'per channel' if per_channel else 'per tensor'} | {values} |", flush=True)


def measure(folder: Path, per_channel: bool) -> tuple[float, float, float]:
    """Return the differences without the option, with it, and of the float model."""
    model, tokenizer = load_stored_model(folder)
    texts = sample_texts(None)
    batches = tokenized_batches(model, tokenizer, texts)
    ranges = calibrate(model, batches, per_channel=per_channel)
    rounded = copy.deepcopy(model).eval()
    apply_ranges(rounded, ranges)
    expected = joined([model_outputs(rounded, batch)[0] for batch in batches])
    with tempfile.TemporaryDirectory() as aside:
        export_onnx(model, tokenizer, texts, Path(aside, "float"))
        write_onnx_int8(model, ranges, Path(aside, "float"), Path(aside, "int8"))
        path = Path(aside, "int8", Path(ONNX_INT8_MODEL).name)
        plain = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = [outputs(plain, batches), outputs(onnx_session(path), batches)]
    found.append(joined([model_outputs(model.eval(), batch)[0] for batch in batches]))
    one, other, rounding = (float(np.abs(each - expected).mean() / expected.std()) for each in found)
    return one, other, rounding


def outputs(session: onnxruntime.InferenceSession, batches: list[dict[str, Tensor]]) -> Outputs:
    """Return the first output of every batch, as one row of numbers."""
    return joined([run_session(session, batch)[0] for batch in batches])


def joined(arrays: list[NDArray[np.floating]]) -> Outputs:
    """Return all values in one row."""
    return np.concatenate([each.ravel().astype(np.float64) for each in arrays])


if __name__ == "__main__":
    main()
