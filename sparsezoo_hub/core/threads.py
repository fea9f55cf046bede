"""Threads: independent pieces of work side by side on the processor's cores.

Torch splits every single operation over its threads and waits for the slowest. For many small operations on
a machine that has other work too, the waiting takes ten to fifty times as long as the work. Whole pieces on a
thread of their own, each with single-threaded operations, wait once.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_threads(
    work: Callable[[Item], Result], items: Iterable[Item], device: torch.device | None = None
) -> list[Result]:
    """Return ``work`` of every item, in order, done on ``torch.get_num_threads()`` threads.

    Called from such a thread, on an accelerator, or for a single item, it does one item after another.
    ``torch.no_grad`` does not reach the threads, so ``work`` detaches what it reads.

    Args:
        work: what is done; pieces may not write to the same memory.
        items: what it is done to.
        device: where the tensors are; the CPU if not given.

    Raises:
        Exception: the first that ``work`` raises.
    """
    items, num_threads = list(items), torch.get_num_threads()
    is_elsewhere = device is not None and device.type != "cpu"
    if is_elsewhere or num_threads == 1 or len(items) <= 1:
        return [work(item) for item in items]
    try:
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(num_threads)  # what threads that begin later start from
