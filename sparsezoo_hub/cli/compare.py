"""``sparsezoo-hub compare``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Endpoint, Json, Token


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Folders, owner/name or owner/name@revision; two of them or more."
        ),
    ],
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also draw the results against the sizes.")
    ] = None,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Compare packages with the first of them: sparsity, sizes, and the results on the same tasks."""
    from sparsezoo_hub.cli.comparison_table import show_comparison
    from sparsezoo_hub.cli.found_table import quiet_downloads
    from sparsezoo_hub.hub.comparison import compare_models
    from sparsezoo_hub.hub.comparison_plot import draw_comparison

    quiet_downloads()
    comparison = compare_models(models, endpoint=endpoint, token=token)
    if as_json:
        print_json(comparison.to_dict())
    else:
        show_comparison(comparison)
    if plot is not None:
        draw_comparison(plot, comparison)
        if not as_json:
            say(f"picture: {escape(str(plot))}")
