"""Packed load: how long a packed model of BERT-base's size takes to load, and the memory that it then has.

Models with random weights at each sparsity, in floats and in int8, are written to a temporary folder and
loaded from the page cache, each time in a process of its own that has imported everything before. Memory is
what the process gains: once when the model is loaded, once when it has computed one batch, which reads every
layer. Packing the same weights, as is done where there is no packed file, is timed beside it.

    python benchmarks/packed_load.py --sparsity 0.9 --rounds 7
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch
from torch import nn
from transformers import BertConfig, BertForQuestionAnswering

from sparsezoo_hub.packaging.calibration import calibrate
from sparsezoo_hub.runtime import SparseModel

BATCH = {"input_ids": torch.arange(1000, 1128)[None]}


def main() -> None:
    """Write, load and print a line per model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", type=float, nargs="+", default=[0.0, 0.9])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores")
    print("| model | file, MB | packing, s | loading, s | memory, loaded | memory, after a batch |")
    print("|---|---|---|---|---|---|")
    for sparsity in arguments.sparsity:
        model = random_model(sparsity)
        dense = 4 * model.num_parameters()
        ranges = calibrate(model, [BATCH])
        for name, chosen in (("floats", None), ("int8", ranges)):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                sparse = SparseModel.from_model(model, chosen)
                packing = time.perf_counter() - start
                sparse.save_pretrained(folder)
                del sparse
                size = sum(path.stat().st_size for path in Path(folder).iterdir())
                measured = [in_own_process(folder) for _ in range(arguments.rounds + 1)][1:]
            seconds = [each[0] for each in measured]
            spread = f"{min(seconds):.3f} to {max(seconds):.3f}"
            loaded, run = (statistics.median(each[at] / dense for each in measured) for at in (1, 2))
            print(
                f"| {sparsity:.0%}, {name} | {size / 1e6:.0f} | {packing:.1f} | "
                f"{statistics.median(seconds):.3f} ({spread}) | {loaded:.2f} | {run:.2f} |",
                flush=True,
            )
    print(f"memory: of {dense / 1e6:.0f} MB, the dense float32 weights")


@torch.no_grad()
def random_model(sparsity: float) -> BertForQuestionAnswering:
    """Return a model of BERT-base's size with this fraction of zeros in every linear layer of its encoder."""
    torch.manual_seed(0)
    model = BertForQuestionAnswering(BertConfig()).eval()
    for module in model.bert.encoder.modules():
        if isinstance(module, nn.Linear):
            module.weight[torch.rand_like(module.weight) < sparsity] = 0
    return model


def in_own_process(folder: str) -> tuple[float, int, int]:
    """Return the seconds of loading, and the bytes that the process gained by it and after a batch."""
    # Forked from a process that has imported everything, and nothing else in its memory.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sparsezoo_hub.runtime", "transformers.models.bert.modeling_bert"])
    answers = context.SimpleQueue()
    process = context.Process(target=load, args=(folder, answers))
    process.start()
    answer: tuple[float, int, int] = answers.get()
    process.join()
    return answer


def load(folder: str, answers: "SimpleQueue[tuple[float, int, int]]") -> None:
    """Load the model in ``folder`` and use it."""
    torch.set_num_threads(1)
    before = resident()
    start = time.perf_counter()
    model = SparseModel.from_pretrained(folder)
    seconds = time.perf_counter() - start
    loaded = resident() - before
    with torch.no_grad():
        model(**BATCH)
    answers.put((seconds, loaded, resident() - before))


def resident() -> int:
    """Return the bytes of this process that are in memory, pages of mapped files among them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    main()
