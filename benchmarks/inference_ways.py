"""The ways of running a model that ``inference.py`` measures, each as fast as its options make it."""

import copy
import importlib.util
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from transformers import BertForQuestionAnswering

from sparsezoo_hub.packaging.onnx_session import run_session, session_options
from sparsezoo_hub.runtime.latency import Batch, Way, torch_way

WORKER = Path(__file__).with_name("deepsparse_worker.py")
HAS_OPENVINO = importlib.util.find_spec("openvino") is not None


@dataclass(frozen=True)
class Label:
    """What runs which model."""

    library: str
    precision: str
    sparsity: float = 0.0

    def __str__(self) -> str:
        return f"{self.library} {self.precision}{f', {self.sparsity:.0%}' if self.sparsity else ''}"


@dataclass(frozen=True)
class Setting:
    """What is measured at a time."""

    layers: int
    threads: int
    batch: int
    length: int

    def inputs(self, vocabulary: int) -> dict[str, torch.Tensor]:
        """Return random tokens without padding."""
        ids = torch.randint(5, vocabulary, (self.batch, self.length))
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": torch.zeros_like(ids),
        }


def onnxruntime_way(path: Path, threads: int, entries: tuple[tuple[str, str], ...] = ()) -> Way:
    """Return what runs an ONNX file in onnxruntime, with the exact int8 that is fastest here.

    Args:
        path: the file.
        threads: of an operation.
        entries: further ones of the session's configuration.
    """
    options = session_options(threads)
    for entry in entries:
        options.add_session_config_entry(*entry)
    # Its threads wait busily for more to do, and would take the processor from whose turn is next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(batch: Batch) -> None:
        run_session(session, batch)

    return run


def bfloat16_way(model: BertForQuestionAnswering) -> Way:
    """Return what runs a model in torch with weights and activations in bfloat16."""
    return torch_way(copy.deepcopy(model).to(torch.bfloat16))


def compiled_way(model: BertForQuestionAnswering) -> Way:
    """Return what runs a model compiled for one shape; the first run compiles."""
    torch._dynamo.reset()  # what was compiled for another shape, or number of threads
    compiled: Any = torch.compile(model, dynamic=False)
    return torch_way(compiled)


def openvino_has_bfloat16() -> bool:
    """Return whether OpenVINO computes in bfloat16 on this processor."""
    from openvino import Core  # noqa: PLC0415 - it need not be installed

    return "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def openvino_way(path: Path, precision: str, setting: Setting) -> Way:
    """Return what runs an ONNX file in OpenVINO, compiled for one shape.

    Args:
        path: the file.
        precision: of what is not in int8, ``f32`` or ``bf16``.
        setting: the shape, and the number of threads.
    """
    from openvino import Core  # noqa: PLC0415 - as above

    core = Core()
    model = core.read_model(path)
    model.reshape({each.any_name: [setting.batch, setting.length] for each in model.inputs})
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": setting.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    names = [each.any_name for each in model.inputs]

    def run(batch: Batch) -> None:
        request.infer({name: batch[name].numpy() for name in names}, share_inputs=True)

    return run


class DeepSparse:
    """Runs an ONNX file in DeepSparse, in a process of its own.

    ``seconds`` are what each run took there. ``version`` is DeepSparse's, and ``supported`` the fraction of
    operators that its engine computes.

    Args:
        python: an interpreter that has it.
        path: the file.
        setting: the shape, and the number of threads.
        vocabulary: how many tokens there are.

    Raises:
        RuntimeError: if it does not run the file.
    """

    def __init__(self, python: Path, path: Path, setting: Setting, vocabulary: int) -> None:
        numbers = (setting.batch, setting.length, setting.threads, vocabulary)
        self.seconds: list[float] = []
        with tempfile.TemporaryFile("w+") as log:
            self.process = subprocess.Popen(  # noqa: S603 - an interpreter that the user named
                [python, WORKER, path, *map(str, numbers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            assert self.process.stdin
            assert self.process.stdout
            self.requests, self.answers = self.process.stdin, self.process.stdout
            first = self.answers.readline().split()
            if not first:
                log.seek(0)
                raise RuntimeError(f"DeepSparse does not run {path.name}: {log.read()[-2000:]}")
        self.version, self.supported = first[0], float(first[1])

    def __call__(self, batch: Batch) -> None:
        """Run, with inputs of its own."""
        print(file=self.requests, flush=True)
        self.seconds.append(float(self.answers.readline()))

    def close(self) -> None:
        """End the process."""
        self.requests.close()
        self.process.wait()
        self.answers.close()
