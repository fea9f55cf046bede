"""``sparsezoo-hub info``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import print_json
from sparsezoo_hub.cli.options import Endpoint, Json, Token


def info(
    model: Annotated[str, typer.Argument(help="A folder, owner/name or owner/name@revision.")],
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """Show what a package is: lineage, sparsity, results, sizes, files, revisions, and how to load it."""
    from sparsezoo_hub.cli.found_table import quiet_downloads
    from sparsezoo_hub.cli.profile_tables import show_profile
    from sparsezoo_hub.hub.model_profile import read_profile

    quiet_downloads()
    profile = read_profile(model, endpoint=endpoint, token=token)
    if as_json:
        print_json(profile.to_dict())
    else:
        show_profile(profile)
