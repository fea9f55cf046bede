"""What the pattern lock costs: the same training step with and without it, interleaved.

    python benchmarks/lock_overhead.py [--rounds 12] [--layers 12] [--hidden 768]

Prints the median of the rounds' ratios with their quartiles, the share of a step that the lock's own code
takes, and the memory of the masks.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from transformers import BertConfig, BertForMaskedLM

from sparsezoo_hub import PatternLock
from sparsezoo_hub.core.masks import top_k_mask
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.core.weight_lock import WeightLock, locks

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


class Stopwatch:
    """Adds up the seconds that the lock's own code takes inside the steps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        for name in ("follow", "mask_gradient", "restore_zeros"):
            setattr(WeightLock, name, self._timed(getattr(WeightLock, name)))

    def _timed(self, method: Callable[..., None]) -> Callable[..., None]:
        def timed(lock: WeightLock, *arguments: object) -> None:
            began = time.perf_counter()
            method(lock, *arguments)
            self.seconds += time.perf_counter() - began

        return timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = BertForMaskedLM(
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
        for name, module in match_targets(model, ["encoder"]).items()
    }
    # One model for both, so that neither has the better place in memory.
    ways = {
        "free": lambda: PatternLock.unlock(model),
        "locked": lambda: PatternLock.prune(model, masks),
    }
    stopwatch = Stopwatch()
    step = make_step(model)
    rounds = []
    shares = []
    for number in range(options.rounds + 1):
        seconds = {}
        # The order alternates, so that neither always comes first.
        for name in sorted(ways, reverse=bool(number % 2)):
            ways[name]()
            stopwatch.seconds = 0.0
            seconds[name] = step()
            if name == "locked":
                shares.append(stopwatch.seconds / seconds[name])
        rounds.append((seconds["free"], seconds["locked"], seconds["locked"] / seconds["free"]))
    rounds, shares = rounds[1:], shares[1:]  # the first one warms up
    ratios = [ratio for *_, ratio in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4)
    numel = sum(mask.numel() for mask in masks.values())
    console = Console()
    console.print(f"{options.layers} layers, hidden {options.hidden}, {numel:,} locked weights")
    console.print(f"batch {BATCH} x {LENGTH}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    console.print(f"step without lock: median {statistics.median(free for free, *_ in rounds):.3f} s")
    console.print(f"step with lock:    median {statistics.median(held for _, held, _ in rounds):.3f} s")
    console.print(
        f"in the lock's own code: median {statistics.median(shares):.2%} of the step "
        f"({min(shares):.2%} to {max(shares):.2%})"
    )
    console.print(f"ratio: median {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    PatternLock.prune(model, masks)
    held = sum(lock.keep.nbytes for lock in locks(model))
    console.print(f"memory of the masks: {held / numel:.2f} bytes per locked weight")


if __name__ == "__main__":
    main()
