"""``sparsezoo-hub diff``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.options import Endpoint, Json, Token

_MODEL = "A folder, or a Hub id (owner/name or owner/name@revision)."


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help=_MODEL)],
    second: Annotated[str, typer.Argument(metavar="B", help=_MODEL)],
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Compare two packages weight by weight: masks, values, recipe, results and files."""
    from sparsezoo_hub.cli.console import print_json
    from sparsezoo_hub.cli.diff_tables import show_diff
    from sparsezoo_hub.hub.diff import diff_packages
    from sparsezoo_hub.hub.snapshot import local_folder

    folders = [local_folder(model, token=token, endpoint=endpoint) for model in (first, second)]
    found = diff_packages(*folders)
    if as_json:
        print_json(found.to_dict())
    else:
        show_diff(found, (first, second))
