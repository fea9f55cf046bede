"""What the pattern lock costs: the same training step with and without it, interleaved.

    python benchmarks/lock_overhead.py [--rounds 12] [--layers 12] [--hidden 768]

Prints the median of the rounds' ratios with their quartiles, and the memory that the masks take.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from transformers import BertConfig, BertForMaskedLM

from sparsezoo_hub import PatternLock
from sparsezoo_hub.core.masks import top_k_mask
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.core.weight_lock import locks

BATCH, LENGTH, SPARSITY = 8, 128, 0.9


def make_step(model: BertForMaskedLM) -> Callable[[], float]:
    """Return a function that does one AdamW step and returns its seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    ids = torch.randint(5, 1000, (BATCH, LENGTH))

    def step() -> float:
        began = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    options = parser.parse_args()
    torch.manual_seed(0)
    free = BertForMaskedLM(
        BertConfig(
            vocab_size=1000,
            hidden_size=options.hidden,
            num_hidden_layers=options.layers,
            num_attention_heads=options.hidden // 64,
            intermediate_size=4 * options.hidden,
        )
    )
    masks = {
        name: top_k_mask(module.weight.abs(), SPARSITY)
        for name, module in match_targets(free, ["encoder"]).items()
    }
    PatternLock.prune(free, masks)  # the same zeros in both: only the lock differs
    PatternLock.unlock(free)
    locked = copy.deepcopy(free)
    PatternLock.lock(locked, masks)
    steps = {"free": make_step(free), "locked": make_step(locked)}
    for step in steps.values():
        step()
    rounds = []
    for number in range(options.rounds):  # the order alternates, so that neither always comes first
        order = sorted(steps) if number % 2 else sorted(steps, reverse=True)
        seconds = {name: steps[name]() for name in order}
        rounds.append((seconds["free"], seconds["locked"], seconds["locked"] / seconds["free"]))
    ratios = [ratio for *_, ratio in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4)
    numel = sum(mask.numel() for mask in masks.values())
    console = Console()
    console.print(f"{options.layers} layers, hidden {options.hidden}, {numel:,} locked weights")
    console.print(f"batch {BATCH} x {LENGTH}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    console.print(f"step without lock: median {statistics.median(free for free, *_ in rounds):.3f} s")
    console.print(f"step with lock:    median {statistics.median(held for _, held, _ in rounds):.3f} s")
    console.print(f"ratio: median {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    held = sum(lock.keep.nbytes for lock in locks(locked))
    console.print(f"memory of the masks: {held / numel:.2f} bytes per locked weight")


if __name__ == "__main__":
    main()
