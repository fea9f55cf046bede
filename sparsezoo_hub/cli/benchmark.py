"""``sparsezoo-hub benchmark``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.options import Json, ModelReference, Revision, Token

if TYPE_CHECKING:
    from sparsezoo_hub.packaging.manifest import Latency


def benchmark(
    model: ModelReference,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Rows at once; repeat for several.")] = None,
    length: Annotated[list[int] | None, typer.Option(min=1, help="Tokens of a row; repeat.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Else as many as PyTorch takes.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way runs, in turns.")] = 7,
    record: Annotated[
        bool, typer.Option("--record", help="Write the result into the package's manifest and card.")
    ] = False,
    *,
    revision: Revision = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Measure a package's milliseconds on this CPU: ONNX Runtime, PyTorch, the sparse engine, int8."""
    import torch

    from sparsezoo_hub.cli.recipe_package import processor
    from sparsezoo_hub.cli.stored_model import load_stored_model
    from sparsezoo_hub.hub.snapshot import local_folder
    from sparsezoo_hub.packaging.latency_record import record_latency
    from sparsezoo_hub.runtime.latency import measure_latency

    if record and not Path(model).is_dir():
        raise typer.BadParameter(
            f"{model} is no folder: pull it, record, and push it again", param_hint="--record"
        )
    folder = local_folder(model, revision=revision, token=token)
    quiet_loading()
    loaded, tokenizer = load_stored_model(folder)
    latency = measure_latency(
        folder,
        loaded,
        tokenizer,
        [(rows, tokens) for rows in batch or [1] for tokens in length or [128]],
        hardware=processor(),
        threads=threads or torch.get_num_threads(),
        rounds=rounds,
    )
    if record:
        record_latency(folder, latency)
    if as_json:
        print_json(latency.model_dump(mode="json"))
        return
    _show(latency)
    if record:
        say(f"recorded in the manifest and the card of {folder}")


def _show(latency: "Latency") -> None:
    from rich.table import Table

    from sparsezoo_hub.cli.console import console

    say(f"{latency.hardware}, threads: {latency.threads}, rounds: {latency.rounds}")
    for rows, length in dict.fromkeys((each.batch, each.length) for each in latency.entries):
        shown = [each for each in latency.entries if (each.batch, each.length) == (rows, length)]
        table = Table(f"{rows} x {length}", "ms", "fastest to slowest", "times as fast")
        for entry in shown:
            table.add_row(
                entry.way,
                f"{entry.median:.4g}",
                f"{entry.fastest:.4g} to {entry.slowest:.4g}",
                f"{shown[0].median / entry.median:.2f}",
            )
        console.print(table)
    if latency.note is not None:
        say(f"note: {latency.note}")
