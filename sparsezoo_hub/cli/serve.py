"""``sparsezoo-hub serve``."""

from pathlib import Path
from typing import Annotated

import typer

from sparsezoo_hub.cli.console import say


def serve(
    root: Annotated[Path, typer.Option(help="Folder that holds the Hub's repositories.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8800,
) -> None:
    """Run a small Hub of your own on 127.0.0.1, for the ordinary Hugging Face client."""
    from sparsezoo_hub.hub.local_hub.server import serve as serve_hub
    from sparsezoo_hub.hub.local_hub.tokens import write_token

    token = write_token(root)

    def announce(url: str) -> None:
        say(f"serving {root} at {url}; Ctrl-C stops it")
        say(f"to load models from it:  export HF_ENDPOINT={url}")
        say(f"to push to it as well:   export HF_TOKEN=$(cat {root / 'token'})")

    serve_hub(root, port, token=token, on_start=announce)
