"""Options that several verbs share, described once."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ModelReference = Annotated[str, typer.Argument(help="A folder, or a Hub id (owner/name).")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")]
Token = Annotated[str | None, typer.Option(help="Hub token; else that of `hf auth login` or HF_TOKEN.")]
Endpoint = Annotated[
    str | None, typer.Option(help="Address of the Hub; else HF_ENDPOINT, else the public Hub.")
]
TextFiles = Annotated[
    list[Path] | None,
    typer.Option("--text", help="Text (txt, jsonl, jsonl.gz with a `text` field); repeat for more files."),
]
BackboneReference = Annotated[
    str | None, typer.Option("--backbone", help="A folder or Hub id instead of the recipe's own backbone.")
]
