"""``sparsezoo-hub serve token``: who may use a Hub of one's own."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import console, print_json, say
from sparsezoo_hub.cli.options import Json

tokens = typer.Typer(
    help="Make, list and revoke tokens; a server that runs knows at once.", no_args_is_help=True
)

Root = Annotated[Path, typer.Option(help="Folder that holds the Hub's repositories.")]


class Scope(StrEnum):
    """What a token is good for."""

    READ = "read"
    WRITE = "write"


@tokens.command()
def create(
    root: Root,
    owner: Annotated[str, typer.Option(help="Whose repositories it opens: OWNER/...")],
    scope: Annotated[Scope, typer.Option(help="Only look at them, or change them as well.")],
) -> None:
    """Make a token and print it, this once: only its hash is kept."""
    from sparsezoo_hub.hub.local_hub.tokens import Tokens

    typer.echo(Tokens(root).create(owner, scope.value))


@tokens.command("list")
def list_tokens(root: Root, as_json: Json = False) -> None:
    """List the tokens: id, owner, scope, date."""
    from rich.table import Table

    from sparsezoo_hub.hub.local_hub.tokens import SHORT_ID, Tokens

    records = Tokens(root).records()
    if as_json:
        fields = [
            {"id": r.id, "owner": r.owner, "scope": r.scope, "created_at": r.created_at} for r in records
        ]
        print_json({"tokens": fields})
        return
    if not records:
        say(f"{root} has no tokens yet, only the administrator's in {root / 'token'}")
        return
    table = Table("id", "owner", "scope", "created", box=None)
    for record in records:
        table.add_row(record.id[:SHORT_ID], record.owner, record.scope, record.created_at)
    console.print(table)


@tokens.command()
def revoke(
    root: Root,
    token: Annotated[str, typer.Argument(metavar="ID", help="Beginning of its id, or the token itself.")],
) -> None:
    """Make a token worthless at once."""
    from sparsezoo_hub.hub.local_hub.tokens import SHORT_ID, Tokens

    record = Tokens(root).revoke(token)
    say(f"revoked {record.id[:SHORT_ID]}, the {record.scope} token of {record.owner}")
