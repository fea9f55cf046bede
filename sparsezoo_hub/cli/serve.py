"""``sparsezoo-hub serve``: the Hub itself, and what its keeper does to its folder."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.byte_sizes import parse_bytes
from sparsezoo_hub.cli.console import say
from sparsezoo_hub.cli.serve_token import tokens
from sparsezoo_hub.cli.serve_upkeep import fsck, gc

serve = typer.Typer(invoke_without_command=True, add_completion=False)
serve.add_typer(tokens, name="token")
serve.command()(fsck)
serve.command()(gc)


@serve.callback()
def serve_hub(
    context: typer.Context,
    root: Annotated[
        Path | None, typer.Option(help="Folder that holds the Hub's repositories; must be given.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8800,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own need TLS before it.")
    ] = "127.0.0.1",
    max_file_size: Annotated[str, typer.Option(metavar="SIZE", help="Of one file: 500MB, 50GB.")] = "50GB",
    requests_per_minute: Annotated[
        int, typer.Option(min=1, help="Of one owner, or of one address without a token.")
    ] = 10_000,
    trusted_proxy: Annotated[
        str, typer.Option(metavar="ADDRESS[,...]", help="Whose X-Forwarded-For and -Proto are believed.")
    ] = "127.0.0.1,::1",
) -> None:
    """Run a small Hub of your own, for the ordinary Hugging Face client."""
    if context.invoked_subcommand is not None:
        return
    if root is None:
        raise typer.BadParameter("give the Hub's folder", param_hint="'--root'")
    from sparsezoo_hub.hub.local_hub.limits import Limits
    from sparsezoo_hub.hub.local_hub.server import serve as run_server
    from sparsezoo_hub.hub.local_hub.tokens import write_token

    limits = Limits(parse_bytes(max_file_size, "--max-file-size"), requests_per_minute)
    token = write_token(root)

    def announce(url: str) -> None:
        say(f"serving {root} at {url}; Ctrl-C stops it")
        say(f"to load models from it:  export HF_ENDPOINT={url}")
        say(f"to push to it as well:   export HF_TOKEN=$(cat {root / 'token'})")

    run_server(
        root,
        port,
        token=token,
        host=host,
        trusted_proxies=trusted_proxy,
        limits=limits,
        on_start=announce,
    )
