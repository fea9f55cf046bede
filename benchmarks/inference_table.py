"""The table that ``inference.py`` prints."""

import statistics
from collections.abc import Mapping, Sequence

from inference_ways import Label, Setting
from rich.table import Table


def ratios(reference: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """Return how many times faster each round was than the reference in the same round."""
    return [one / other for one, other in zip(reference, seconds, strict=True)]


def show(
    times: Mapping[Label, Sequence[float]],
    mebibytes: Mapping[Label, float],
    setting: Setting,
    reference: Label,
) -> Table:
    """Return a table of medians, ranges and ratios to the reference."""
    title = (
        f"{setting.layers} layers, batch {setting.batch}, length {setting.length}, "
        f"threads {setting.threads}: times faster than {reference}"
    )
    shown = Table(title=title)
    shown.add_column("")
    for name in ("sparsity", "ms", "range", "tokens/s", "times", "range", "packed MiB"):
        shown.add_column(name, justify="right", no_wrap=True)
    for label, seconds in times.items():
        faster = ratios(times[reference], seconds)
        median = statistics.median(seconds)
        shown.add_row(
            f"{label.library} {label.precision}",
            f"{label.sparsity:.0%}",
            f"{median * 1e3:.1f}",
            f"{min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f}",
            f"{setting.batch * setting.length / median:.0f}",
            f"{statistics.median(faster):.2f}",
            f"{min(faster):.2f} to {max(faster):.2f}",
            f"{mebibytes[label]:.0f}" if label in mebibytes else "",
        )
    return shown
