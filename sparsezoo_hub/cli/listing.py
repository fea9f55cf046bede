"""``sparsezoo-hub list``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.options import Endpoint, Json, Limit, Token


def list_models(
    owner: Annotated[str | None, typer.Argument(help="Whose models; everybody's without it.")] = None,
    limit: Limit = 50,
    token: Token = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
) -> None:
    """List the packages on a Hub, the last changed first."""
    from sparsezoo_hub.cli.found_table import find
    from sparsezoo_hub.hub.search import Wanted

    find(Wanted(author=owner), limit, endpoint, token, as_json)
