"""What the sparse engine makes of a pruned encoder, beside torch and onnxruntime.

    python benchmarks/inference.py [--layers 12] [--hidden 768] [--sparsity 0.9 0.95] [--batch 1]
        [--length 128 384] [--rounds 7] [--threads 2]

A question-answering BERT of random weights, every encoder weight pruned by magnitude, in float32 and in int8
(calibrated on random tokens); onnxruntime has the dense one, for it computes zeros like other numbers, with
the exact int8 product (``session.x64quantprecision``). All run in one process, one after the other in every
round, with as many threads. Prints milliseconds (median, and the range of the rounds; with one thread those
of the processor, so that what else it does counts less) and how many times faster than onnxruntime's float32,
of each round by itself; at first, how far the engine's logits are from
those of torch (the float model, or the same rounding), how long packing takes, and the memory of the packed
layers.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering
from transformers.utils import logging

from sparsezoo_hub.core.fake_quantization import LayerRanges, apply_ranges
from sparsezoo_hub.core.masks import top_k_mask
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.packaging.onnx_export import export_onnx
from sparsezoo_hub.packaging.onnx_int8 import write_onnx_int8
from sparsezoo_hub.runtime import SparseModel, engine
from sparsezoo_hub.runtime.latency import Way, in_turns, onnx_way, torch_way
from sparsezoo_hub.runtime.packed_encoder import LINEARS
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


def export(model: BertForQuestionAnswering, ranges: Mapping[str, LayerRanges], folder: Path) -> list[Path]:
    """Return the ONNX files of a model, in float32 and in int8."""
    documents = python_documentation()
    train_wordpiece(documents, VOCABULARY).save_pretrained(folder)
    texts = [document.text[:200] for document in documents[:11]]
    export_onnx(model, AutoTokenizer.from_pretrained(folder), texts, folder / "onnx")
    write_onnx_int8(model, ranges, folder / "onnx", folder / "onnx-int8")
    return [folder / "onnx" / "model.onnx", folder / "onnx-int8" / "model_quantized.onnx"]


def engine_runner(model: BertForQuestionAnswering, name: str, console: Console) -> Way:
    """Return what runs a model in the engine, and print how it was packed."""
    began = time.perf_counter()
    sparse = SparseModel.from_model(model)
    seconds = time.perf_counter() - began
    linears = [getattr(each, name) for each in sparse.bert.encoder.encoder.layers for name in LINEARS]
    num_bytes = sum(each.nbytes for linear in linears for each in linear.tensors().values())
    ids = torch.randint(5, VOCABULARY, (2, 100))
    theirs = model(input_ids=ids).start_logits
    apart = (sparse(input_ids=ids).start_logits - theirs).abs() / theirs.std()
    console.print(
        f"{name}: logits {float(apart.mean()):.1e} deviations from torch's in the mean, at most "
        f"{float(apart.max()):.1e}; packed in {seconds:.1f} s, {num_bytes / 2**20:.0f} MiB"
    )
    return torch_way(sparse)


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
    tokens = [{"input_ids": torch.randint(5, VOCABULARY, (2, 128))} for _ in range(2)]
    dense = make_model(options.layers, options.hidden, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        exported = export(dense, calibrate(dense, tokens), Path(folder))
        names = ("onnxruntime, dense", "onnxruntime, dense, int8")
        runners = {name: onnx_way(path, options.threads) for name, path in zip(names, exported, strict=True)}
        runners["torch, dense"] = torch_way(dense)
        for sparsity in (0.0, *options.sparsity):
            model = make_model(options.layers, options.hidden, sparsity)
            name = f"engine, {f'{sparsity:.0%}' if sparsity else 'dense'}"
            runners[name] = engine_runner(model, name, console)
            apply_ranges(model, calibrate(model, tokens))
            runners[f"{name}, int8"] = engine_runner(model, f"{name}, int8", console)
        console.print(
            f"{engine.chosen_instructions()}, {options.threads} threads; {options.layers} layers, "
            f"hidden size {options.hidden}; torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
        )
        for batch in options.batch:
            for length in options.length:
                ids = torch.randint(5, VOCABULARY, (batch, length))
                inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                inputs["token_type_ids"] = torch.zeros_like(ids)
                clock = time.process_time if options.threads == 1 else time.perf_counter
                times = in_turns(runners, inputs, options.rounds, clock)
                console.print(table(times, f"{batch} x {length}"))


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
