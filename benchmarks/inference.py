"""What the sparse engine makes of a pruned encoder, beside torch and onnxruntime.

    python benchmarks/inference.py [--layers 12] [--hidden 768] [--sparsity 0.9 0.95] [--batch 1]
        [--length 128 384] [--rounds 7] [--threads 2]

A question-answering BERT of random weights, every encoder weight pruned by magnitude; onnxruntime has the
dense one, for it computes zeros like other numbers. All run in one process, one after the other in every
round, with as many threads. Prints milliseconds (median, and the range of the rounds) and how many times
faster than onnxruntime, of each round by itself; at first, how far the engine's logits are from torch's,
and how long packing takes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering
from transformers.utils import logging

from sparsezoo_hub.core.masks import top_k_mask
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.packaging.onnx_export import export_onnx
from sparsezoo_hub.packaging.onnx_session import session_options
from sparsezoo_hub.runtime import SparseModel, engine
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.wordpiece import train_wordpiece

VOCABULARY = 8_000


def make_model(layers: int, hidden: int, sparsity: float) -> BertForQuestionAnswering:
    """Return a model of random weights, always the same, pruned."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )
    model = BertForQuestionAnswering(config).eval()
    if sparsity:
        with torch.no_grad():
            for module in match_targets(model, ["encoder"]).values():
                module.weight *= top_k_mask(module.weight.abs(), sparsity)
    return model


def onnx_runner(
    model: BertForQuestionAnswering, threads: int, folder: Path
) -> Callable[[torch.Tensor], None]:
    """Return what runs a model in onnxruntime."""
    documents = python_documentation()
    train_wordpiece(documents, VOCABULARY).save_pretrained(folder)
    texts = [document.text[:200] for document in documents[:11]]
    export_onnx(model, AutoTokenizer.from_pretrained(folder), texts, folder / "onnx")
    options = session_options()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        folder / "onnx" / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()]

    def run(ids: torch.Tensor) -> None:
        full = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": torch.zeros_like(ids),
        }
        session.run(None, {name: full[name].numpy() for name in names})

    return run


def torch_runner(model: torch.nn.Module) -> Callable[[torch.Tensor], None]:
    """Return what runs a model in torch, or in the engine."""

    def run(ids: torch.Tensor) -> None:
        model(input_ids=ids)

    return run


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("layers", 12), ("hidden", 768), ("rounds", 7), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sparsity", type=float, nargs="*", default=[0.9, 0.95])
    parser.add_argument("--batch", type=int, nargs="*", default=[1])
    parser.add_argument("--length", type=int, nargs="*", default=[128, 384])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    console = Console(width=110)
    dense = make_model(options.layers, options.hidden, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        runners = {
            "onnxruntime, dense": onnx_runner(dense, options.threads, Path(folder)),
            "torch, dense": torch_runner(dense),
            "engine, dense": torch_runner(SparseModel.from_model(dense)),
        }
        for sparsity in options.sparsity:
            model = make_model(options.layers, options.hidden, sparsity)
            began = time.perf_counter()
            sparse = SparseModel.from_model(model)
            seconds = time.perf_counter() - began
            ids = torch.randint(5, VOCABULARY, (2, 100))
            ours, theirs = sparse(input_ids=ids).start_logits, model(input_ids=ids).start_logits
            difference = float((ours - theirs).abs().max() / theirs.abs().max())
            console.print(
                f"{sparsity:.0%}: logits within {difference:.1e} of torch's, packed in {seconds:.1f} s"
            )
            runners[f"engine, {sparsity:.0%}"] = torch_runner(sparse)
        console.print(
            f"{engine.chosen_instructions()}, {options.threads} threads; {options.layers} layers, "
            f"hidden size {options.hidden}; torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
        )
        for batch in options.batch:
            for length in options.length:
                times = measure(runners, torch.randint(5, VOCABULARY, (batch, length)), options.rounds)
                console.print(table(times, f"{batch} x {length}"))


def measure(
    runners: dict[str, Callable[[torch.Tensor], None]], ids: torch.Tensor, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of every round, by runner; a first one does not count."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(rounds + 1):
        for name, run in runners.items():
            began = time.perf_counter()
            run(ids)
            if number:
                times[name].append(time.perf_counter() - began)
    return times


def table(times: dict[str, list[float]], title: str) -> Table:
    """Return a table of medians, ranges and ratios to the first runner."""
    shown = Table(title, "ms", "range", "times faster", "range")
    reference = next(iter(times.values()))
    for name, own in times.items():
        ratios = [one / other for one, other in zip(reference, own, strict=True)]
        shown.add_row(
            name,
            f"{statistics.median(own) * 1e3:.1f}",
            f"{min(own) * 1e3:.1f} to {max(own) * 1e3:.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
        )
    return shown


if __name__ == "__main__":
    main()
