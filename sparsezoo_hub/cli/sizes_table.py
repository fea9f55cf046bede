"""The sizes of several models as one table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsezoo_hub.cli.console import say
from sparsezoo_hub.packaging.size_table import FORMS, GZIP_LEVEL, ZSTD_LEVEL, WeightsSize

_MB = 10**6
_ANY_WIDTH = 1000


def show_sizes(rows: Sequence[WeightsSize]) -> None:
    """Print a row for every model and form, compared with the first; as wide as it must be."""
    table = Table(title="Sizes", title_justify="left")
    table.add_column("model", no_wrap=True)
    for column in (
        "parameters",
        "prunable",
        "zeros",
        "sparsity",
        "MB",
        "ratio",
        "gzip MB",
        "ratio",
        "zstd MB",
        "ratio",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        smaller = row.compression(rows[0])
        sizes = [
            cell for form in FORMS for cell in (f"{getattr(row, form) / _MB:.2f}", f"{smaller[form]:.2f}")
        ]
        counts = [f"{count:,}" for count in (row.parameters, row.prunable, row.zeros)]
        table.add_row(Text(row.name), *counts, f"{row.sparsity:.1%}", *sizes)
    # Eleven columns fit into few terminals, and numbers cut short are of no use.
    Console(highlight=False, width=_ANY_WIDTH).print(table)
    say("prunable: weight matrices outside the embeddings; zeros and sparsity are among them")
    say(
        f"1 MB is 10^6 bytes; gzip at level {GZIP_LEVEL}, zstd at level {ZSTD_LEVEL}; "
        "ratio: how many times smaller than the first row"
    )
