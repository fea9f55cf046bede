"""``sparsezoo-hub inspect``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.options import Json, Revision, Token


def inspect(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="A folder, or a Hub id (owner/name); several only with --sizes."
        ),
    ],
    sizes: Annotated[
        bool,
        typer.Option(
            "--sizes", help="Compare parameters, zeros and size of models, plain and compressed, as a table."
        ),
    ] = False,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Count the zeros of every weight of a package, and show what it says of itself."""
    from sparsezoo_hub.cli.console import print_json
    from sparsezoo_hub.cli.inspection_table import show_inspection
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.inspection import inspect_package

    if sizes:
        _compare(models, revision, token, as_json)
        return
    if len(models) > 1:
        raise typer.BadParameter(
            f"got {len(models)} models: give one, or compare them with --sizes", param_hint="MODEL"
        )
    inspection = inspect_package(local_folder(models[0], revision=revision, token=token))
    if as_json:
        print_json(inspection.to_dict())
    else:
        show_inspection(inspection)


def _compare(models: list[str], revision: str | None, token: str | None, as_json: bool) -> None:
    from sparsezoo_hub.cli.console import print_json
    from sparsezoo_hub.cli.sizes_table import show_sizes
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.size_table import GZIP_LEVEL, ZSTD_LEVEL, measure_sizes

    rows = [
        row
        for model in models
        for row in measure_sizes(local_folder(model, revision=revision, token=token), model)
    ]
    if as_json:
        table = [row.to_dict(rows[0]) for row in rows]
        print_json({"gzip_level": GZIP_LEVEL, "zstd_level": ZSTD_LEVEL, "models": table})
    else:
        show_sizes(rows)
