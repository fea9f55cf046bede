"""How fast encoders run in the sparse engine, and in torch, onnxruntime, OpenVINO and DeepSparse.

    python benchmarks/inference.py [--layers 12 6 3] [--hidden 768] [--sparsity 0.9 0.95] [--batch 1 16 64]
        [--length 128 384] [--threads 1 2] [--rounds 7] [--deepsparse PYTHON] [--without NAME ...]
        [--json FILE]

The models are question-answering BERTs of random weights, every encoder weight pruned by magnitude; int8 is
calibrated on random tokens. The engine has them dense and pruned, in float32, in float32 with attention in
bfloat16, in bfloat16, and in int8 with attention in bfloat16 (where the processor multiplies it). These have
the dense one only, for they compute zeros like other numbers: torch in float32, compiled (``torch.compile``)
and in bfloat16; onnxruntime in float32 and int8; OpenVINO, if it is installed, in float32, bfloat16 (if it
computes that here) and int8. DeepSparse 1.8 needs an environment of its own: if an interpreter that has it is
named, it has them dense and pruned, in float32 and int8. OpenVINO, DeepSparse and ``torch.compile`` compile
every shape.

onnxruntime's int8 is exact with VNNI as it is, elsewhere with ``session.x64quantprecision``, which is named
in its row; with VNNI there is a row of it too, as exact and slower. OpenVINO's int8 has all else in bfloat16,
where it can.

All run in turns, one after the other in every round, with as many threads; a first round does not count.
Prints, for every number of layers and threads, batch and length: milliseconds (median, and the range of the
rounds), tokens a second, how many times faster than onnxruntime's float32 of the same layers, of each round
by itself, and the memory of the engine's packed layers. At first, how far the engine's logits are from those
of torch (the float model, or the same rounding to int8). ``--without`` leaves out what begins like that, for
example ``torch.compile`` or ``"DeepSparse float32"``. The file of ``--json`` gets the seconds of every round;
``inference_plots.py`` draws them.
"""

import argparse
import contextlib
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch
from deepsparse_export import export_for_deepsparse
from inference_models import VOCABULARY, calibrated, export, make_model
from inference_table import show
from inference_ways import (
    HAS_OPENVINO,
    DeepSparse,
    Label,
    Setting,
    bfloat16_way,
    compiled_way,
    onnxruntime_way,
    openvino_has_bfloat16,
    openvino_way,
)
from rich.console import Console
from transformers import BertForQuestionAnswering
from transformers.utils import logging

from sparsezoo_hub.core.fake_quantization import apply_ranges
from sparsezoo_hub.packaging.onnx_session import EXACT_INT8, has_vnni
from sparsezoo_hub.runtime import SparseModel, engine
from sparsezoo_hub.runtime.latency import Way, in_turns, torch_way
from sparsezoo_hub.runtime.packed_encoder import LINEARS

REFERENCE = Label("onnxruntime", "float32")
# How the engine runs a float model, by what its row is called.
PRECISIONS: dict[str, dict[str, torch.dtype]] = {
    "float32": {},
    "float32, attention bfloat16": {"attention": torch.bfloat16},
    "bfloat16": {"dtype": torch.bfloat16},
}
Builders = dict[Label, Callable[[], Way]]


@dataclass
class Models:
    """All models of as many layers."""

    dense: BertForQuestionAnswering
    onnx: dict[str, Path]
    engine: dict[Label, Way] = field(default_factory=dict)
    packed_mebibytes: dict[Label, float] = field(default_factory=dict)
    deepsparse: dict[Label, Path] = field(default_factory=dict)


def make_models(layers: int, options: argparse.Namespace, folder: Path, console: Console) -> Models:
    """Return the models, exported to ``folder`` and packed."""
    dense = make_model(layers, options.hidden, 0.0)
    made = Models(dense, export(dense, calibrated(dense), folder))
    for sparsity in dict.fromkeys((0.0, *options.sparsity)):
        model = make_model(layers, options.hidden, sparsity)
        ranges = calibrated(model)
        if options.deepsparse:
            files = export_for_deepsparse(model, ranges, folder / f"deepsparse-{sparsity}")
            made.deepsparse |= {Label("DeepSparse", name, sparsity): path for name, path in files.items()}
        for precision, chosen in PRECISIONS.items():
            pack(model, Label("engine", precision, sparsity), chosen, made, console)
        apply_ranges(model, ranges)
        pack(model, Label("engine", "int8", sparsity), {}, made, console)
    return made


def pack(
    model: BertForQuestionAnswering,
    label: Label,
    chosen: dict[str, torch.dtype],
    models: Models,
    console: Console,
) -> None:
    """Add what runs a model in the engine, and print how far its logits are from torch's."""
    began = time.perf_counter()
    sparse: Any = SparseModel.from_model(model, **chosen)
    seconds = time.perf_counter() - began
    linears = [getattr(each, name) for each in sparse.bert.encoder.encoder.layers for name in LINEARS]
    num_bytes = sum(each.nbytes for linear in linears for each in linear.tensors().values())
    ids = torch.randint(5, VOCABULARY, (2, 100))
    theirs = model(input_ids=ids).start_logits
    apart = (sparse(input_ids=ids).start_logits - theirs).abs() / theirs.std()
    console.print(
        f"{label}: logits {float(apart.mean()):.1e} deviations from torch's in the mean, at most "
        f"{float(apart.max()):.1e}; packed in {seconds:.1f} s"
    )
    models.engine[label] = torch_way(sparse)
    models.packed_mebibytes[label] = num_bytes / 2**20


def lasting_ways(models: Models, threads: int) -> Builders:
    """Return what makes the ways that run every shape."""
    builders: Builders = {
        REFERENCE: lambda: onnxruntime_way(models.onnx["float32"], threads),
        Label("onnxruntime", "int8, x64quantprecision"): lambda: onnxruntime_way(
            models.onnx["int8"], threads, (EXACT_INT8,)
        ),
        Label("torch", "float32"): lambda: torch_way(models.dense),
        Label("torch", "bfloat16"): lambda: bfloat16_way(models.dense),
    }
    if has_vnni():
        builders[Label("onnxruntime", "int8")] = lambda: onnxruntime_way(models.onnx["int8"], threads)
    return builders | {label: (lambda way=way: way) for label, way in models.engine.items()}


def shape_ways(models: Models, setting: Setting, python: Path | None) -> Builders:
    """Return what makes the ways that run one shape only."""
    builders: Builders = {Label("torch.compile", "float32"): lambda: compiled_way(models.dense)}
    if HAS_OPENVINO:
        kinds = {"float32": ("float32", "f32"), "int8": ("int8", "f32")}
        if openvino_has_bfloat16():
            kinds |= {"bfloat16": ("float32", "bf16"), "int8": ("int8", "bf16")}
        for name, (file, hint) in kinds.items():
            builders[Label("OpenVINO", name)] = lambda file=file, hint=hint: openvino_way(
                models.onnx[file], hint, setting
            )
    for label, path in models.deepsparse.items():
        builders[label] = lambda path=path: DeepSparse(python, path, setting, VOCABULARY)
    return builders


def build(builders: Builders, without: list[str]) -> dict[Label, Way]:
    """Return the ways that are not to be left out."""
    return {
        label: builder()
        for label, builder in builders.items()
        if label == REFERENCE or not str(label).startswith(tuple(without))
    }


def measure(ways: dict[Label, Way], setting: Setting, rounds: int) -> dict[Label, list[float]]:
    """Return the seconds of every round, by way."""
    named = {str(label): way for label, way in ways.items()}
    times = in_turns(named, setting.inputs(VOCABULARY), rounds)
    return {
        # The first of DeepSparse's seconds are those of the round that does not count.
        label: way.seconds[1:] if isinstance(way, DeepSparse) else times[str(label)]
        for label, way in ways.items()
    }


def measure_shape(
    models: Models, lasting: dict[Label, Way], setting: Setting, options: argparse.Namespace, console: Console
) -> dict[Label, list[float]]:
    """Return the seconds of every round, by way, and print them."""
    with contextlib.ExitStack() as stack:
        ways = lasting | build(shape_ways(models, setting, options.deepsparse), options.without)
        workers = [way for way in ways.values() if isinstance(way, DeepSparse)]
        for worker in workers:
            stack.callback(worker.close)
        times = measure(ways, setting, options.rounds)
        memory = [mebibytes(worker.process.pid) for worker in workers]
    console.print(show(times, models.packed_mebibytes, setting, REFERENCE))
    console.print(f"memory: {mebibytes(None):.0f} MiB of this process")
    if workers:
        supported = min(each.supported for each in workers)
        console.print(
            f"DeepSparse {workers[0].version}: at most {max(memory):.0f} MiB of a process; "
            f"its engine computes {supported:.0%} of the operators"
        )
    return times


def measure_layers(layers: int, options: argparse.Namespace, console: Console) -> Iterator[dict[str, Any]]:
    """Measure and print all settings of as many layers; yield a record of each way in each."""
    with tempfile.TemporaryDirectory() as folder:
        models = make_models(layers, options, Path(folder), console)
        for threads in options.threads:
            torch.set_num_threads(threads)
            lasting = build(lasting_ways(models, threads), options.without)
            for batch, length in itertools.product(options.batch, options.length):
                setting = Setting(layers, threads, batch, length)
                times = measure_shape(models, lasting, setting, options, console)
                for label, seconds in times.items():
                    packed = models.packed_mebibytes.get(label)
                    record = vars(setting) | vars(label) | {"hidden": options.hidden}
                    yield record | {"packed_mebibytes": packed, "seconds": seconds}


def mebibytes(process: int | None) -> float:
    """Return what a process has in memory; None is this one."""
    used: int = psutil.Process(process).memory_info().rss
    return used / 2**20


def machine() -> dict[str, Any]:
    """Return what the measurements depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    libraries = ["torch", "onnxruntime", "transformers", *(["openvino"] if HAS_OPENVINO else [])]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": psutil.cpu_count(logical=False),
        "instructions": engine.chosen_instructions(),
        "vnni": has_vnni(),
        "versions": {name: metadata.version(name) for name in libraries},
    }


@torch.no_grad()
def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("layers", [12]), ("batch", [1]), ("length", [128, 384]), ("threads", [2])):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=default)
    parser.add_argument("--sparsity", type=float, nargs="*", default=[0.9, 0.95])
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without", nargs="+", default=[])
    parser.add_argument("--deepsparse", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.set_verbosity_error()
    console = Console(width=120)
    found = machine()
    console.print(found)
    if not HAS_OPENVINO:
        console.print("OpenVINO is not installed: its rows are left out")
    measurements = []
    for layers in options.layers:
        for record in measure_layers(layers, options, console):
            measurements.append(record)
            if options.json:  # at once, for the next setting may take hours
                options.json.write_text(
                    json.dumps({"machine": found, "measurements": measurements}, indent=1)
                )


if __name__ == "__main__":
    main()
