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
Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]
TextFiles = Annotated[
    list[Path] | None,
    typer.Option("--text", help="Text (txt, jsonl, jsonl.gz with a `text` field); repeat for more files."),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="The task's train, validation and test files (json, jsonl, csv, parquet).",
    ),
]
BackboneReference = Annotated[
    str | None, typer.Option("--backbone", help="A folder or Hub id instead of the recipe's own backbone.")
]
MaxSteps = Annotated[
    int | None, typer.Option(min=1, help="Shorten every stage to this, its windows in proportion.")
]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16 where autocast allows it.")]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Compile the encoder's layers (torch.compile): worth it on a GPU."),
]
PerDeviceBatch = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="The most rows that each device takes at once; it takes several times as many for a step if the "
        "recipe's batch is larger.",
    ),
]
NamedTextFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="[CORPUS=]FILE",
        help="Text (txt; jsonl or parquet with a `text` field; compressed or not), for one of the recipe's "
        "corpora or all of them: a file, a folder, a pattern or an hf:// address; repeat for more.",
    ),
]
NamedDataFolders = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[TASK=]FOLDER",
        help="Train, validation and test files of a task, instead of its data set on the Hub.",
    ),
]
NamedParents = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone",
        metavar="[PARENT=]MODEL",
        help="A folder or Hub id instead of the recipe's own backbone, or another of its parents; "
        "`tiny` tries the whole recipe out at a size of seconds.",
    ),
]
