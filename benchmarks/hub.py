"""Push and pull of a model of BERT-base's size to a Hub of one's own, against a plain copy of its files.

    python benchmarks/hub.py [--rounds 5] [--layers 12] [--hidden 768] [--vocabulary 30522]

The weights are random, 90 % of the encoder's are zeros. In every round the files are copied (and synced),
pushed to an empty Hub in another process by the same call that `sparsezoo-hub push` uses, and pulled by the
Hub's client; then the same with the compact form, which is written before and expanded after. What a push
and a pull of a whole package check beside (hashes, zeros, ONNX) is left out. Prints a Markdown table with
medians and quartiles; the requests are those that the client sent.
"""

import argparse
import filecmp
import os
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import torch
from huggingface_hub.utils import disable_progress_bars, get_session
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from sparsezoo_hub.core.masks import top_k_mask
from sparsezoo_hub.core.targets import match_targets
from sparsezoo_hub.hub.local_hub.process import HubAddress, running_hub
from sparsezoo_hub.hub.one_commit import commit_files, commit_of, hub_api
from sparsezoo_hub.packaging.compact_weights import expand_compact, write_compact
from sparsezoo_hub.packaging.layout import MASKS, WEIGHTS
from sparsezoo_hub.packaging.mask_file import write_masks

SPARSITY = 0.9
MEGABYTE = 1e6
REPO = "org/bench"
COMPACT = "compact.safetensors"


def write_model(folder: Path, config: BertConfig) -> dict[str, Tensor]:
    """Write weights with zeros, their masks and the configuration, and return the masks."""
    torch.manual_seed(0)
    model = BertForMaskedLM(config)
    masks = {}
    with torch.no_grad():
        for name, module in match_targets(model, ["encoder"]).items():
            masks[name] = top_k_mask(module.weight.abs(), SPARSITY)
            module.weight *= masks[name]
            module.weight += 0.0  # a negative number times nothing is -0.0
    model.save_pretrained(folder)
    write_masks(folder / MASKS, masks)
    return masks


class Stopwatch:
    """Keeps the seconds of every way, and the requests that the client sent for it."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.requests: dict[str, int] = {}
        self._sent = 0
        session = get_session()
        hooks = session.event_hooks
        session.event_hooks = {**hooks, "request": [*hooks["request"], self._count]}

    def _count(self, _: httpx2.Request) -> None:
        self._sent += 1

    def time(self, way: str, action: Callable[[], object]) -> None:
        """Do `action` once."""
        before, began = self._sent, time.perf_counter()
        action()
        self.seconds[way].append(time.perf_counter() - began)
        self.requests[way] = self._sent - before


def copy_files(folder: Path, out: Path) -> None:
    """Copy every file of `folder`, and wait until the disk has them."""
    out.mkdir()
    for path in folder.iterdir():
        with path.open("rb") as source, (out / path.name).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())


def push(hub: HubAddress, repo_id: str, folder: Path) -> None:
    """Push every file of `folder` in one commit."""
    api = hub_api(hub.url, hub.token)
    api.create_repo(repo_id)
    files = {path.name: path for path in folder.iterdir()}
    head = commit_of(api.repo_info(repo_id))
    commit_files(api, repo_id, files, branch="main", parent=head, delete=[], message="all of it")


def one_round(watch: Stopwatch, dense: Path, compact: Path, masks: dict[str, Tensor], scratch: Path) -> None:
    """Time every way once."""
    watch.time("plain copy with fsync", lambda: copy_files(dense, scratch / "copied"))
    with running_hub(scratch / "hub") as hub:
        api = hub_api(hub.url, hub.token)
        watch.time("push", lambda: push(hub, REPO, dense))
        watch.time("pull", lambda: api.snapshot_download(REPO, local_dir=scratch / "pulled"))
    assert filecmp.cmp(dense / WEIGHTS, scratch / "pulled" / WEIGHTS, shallow=False)
    shutil.rmtree(scratch)
    scratch.mkdir()
    watch.time("compact form written", lambda: write_compact(dense / WEIGHTS, masks, scratch / COMPACT))
    with running_hub(scratch / "hub") as hub:
        api = hub_api(hub.url, hub.token)
        watch.time("push of the compact form", lambda: push(hub, REPO, compact))
        watch.time(
            "pull of the compact form", lambda: api.snapshot_download(REPO, local_dir=scratch / "pulled")
        )
    watch.time("weights expanded", lambda: expand_compact(scratch / "pulled" / COMPACT, scratch / WEIGHTS))
    assert filecmp.cmp(dense / WEIGHTS, scratch / WEIGHTS, shallow=False)
    shutil.rmtree(scratch)
    scratch.mkdir()


def size_of(folder: Path) -> int:
    """Return the bytes of the files in `folder`."""
    return sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=30522)
    options = parser.parse_args()
    disable_progress_bars()
    config = BertConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        intermediate_size=4 * options.hidden,
    )
    with TemporaryDirectory() as folder, chdir(folder):
        dense, compact, scratch = Path("dense"), Path("compact"), Path("scratch")
        masks = write_model(dense, config)
        for path in (compact, scratch):
            path.mkdir()
        sizes = write_compact(dense / WEIGHTS, masks, compact / COMPACT)
        shutil.copy(dense / "config.json", compact)
        watch = Stopwatch()
        for _ in range(options.rounds):
            one_round(watch, dense, compact, masks, scratch)
        size = dict.fromkeys(("compact form written", "weights expanded"), sizes.raw)
        size |= {way: size_of(dense) for way in ("plain copy with fsync", "push", "pull")}
        size |= {way: size_of(compact) for way in ("push of the compact form", "pull of the compact form")}
    print(
        f"Weights {sizes.raw / MEGABYTE:.1f} MB, compact form {sizes.compact / MEGABYTE:.1f} MB:"
        f" {sizes.ratio:.2f} times smaller. Medians of {options.rounds} rounds, with their quartiles.\n"
    )
    print("| | MB | seconds | MB/s | requests |\n|---|---|---|---|---|")
    for way, seconds in watch.seconds.items():
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        megabytes = size[way] / MEGABYTE
        print(
            f"| {way} | {megabytes:.1f} | {median:.2f} ({low:.2f} to {high:.2f}) | {megabytes / median:.0f} |"
            f" {watch.requests[way] or ''} |"
        )


if __name__ == "__main__":
    main()
