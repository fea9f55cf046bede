"""The console: where people read results, and where programs do."""

import json
from typing import Any

import typer
from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print one line, left whole however narrow the terminal, so that paths can be copied."""
    console.print(message, soft_wrap=True)


def print_json(content: Any) -> None:
    """Write one JSON document to standard output."""
    typer.echo(json.dumps(content, indent=2))


def quiet_loading() -> None:
    """Hide transformers' bar and report for every file that it reads: a recipe loads dozens."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def human_bytes(size: int) -> str:
    """Return ``3.2 MB``; one MB is 10^6 bytes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
