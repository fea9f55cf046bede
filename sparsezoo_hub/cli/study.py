"""``sparsezoo-hub study``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsezoo_hub.cli.console import console, errors, print_json, quiet_loading, say
from sparsezoo_hub.cli.named_options import named_files, named_folders, named_parents
from sparsezoo_hub.cli.options import Bf16, Json, MaxSteps, NamedDataFolders, NamedTextFiles
from sparsezoo_hub.errors import RecipeError
from sparsezoo_hub.training.stop_signals import interruptible

if TYPE_CHECKING:
    from sparsezoo_hub.training.studies.runner import Outcome

_RECORDED = ("sparsezoo-hub", "torch", "transformers", "tokenizers")


@interruptible()
def study(
    study: Annotated[
        str | None, typer.Argument(help="A YAML file, or the name of one that comes with the package.")
    ] = None,
    *,
    text: NamedTextFiles = None,
    data: NamedDataFolders = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            "--parent",
            metavar="[NAME=]MODEL",
            help="A folder or Hub id instead of the recipes' own backbone, of another parent, or of every "
            "parent that is NAME, a Hub id or the recipe that makes it; `tiny` tries it all out.",
        ),
    ] = None,
    max_steps: MaxSteps = None,
    bf16: Bf16 = False,
    part: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Run the I-th of N parts of the runs, from 1.")
    ] = "1/1",
    out: Annotated[Path | None, typer.Option(help="The study's folder; runs/NAME without it.")] = None,
    as_json: Json = False,
) -> None:
    """Run what is missing of a table of runs, and write the table; without a name, list the studies.

    Killed or stopped, it goes on with the same command. Several processes may share one folder.
    """
    from sparsezoo_hub.training.studies.library import load_study, study_names

    if study is None:
        summaries = {name: load_study(name).study.summary for name in study_names()}
        if as_json:
            print_json(summaries)
        else:
            for name, summary in summaries.items():
                say(f"[bold]{name}[/]  {summary}")
        return

    from sparsezoo_hub.cli.progress_display import ProgressDisplay
    from sparsezoo_hub.cli.recipe_package import hardware, versions
    from sparsezoo_hub.training.run import ignore_progress
    from sparsezoo_hub.training.run_options import RunOptions
    from sparsezoo_hub.training.studies.matrix import shard
    from sparsezoo_hub.training.studies.options import StudyOptions
    from sparsezoo_hub.training.studies.results import JSON, MARKDOWN
    from sparsezoo_hub.training.studies.run_record import Machine
    from sparsezoo_hub.training.studies.runner import run_study

    quiet_loading()
    index, count = _shard(part)
    file = load_study(study)
    folder = out or Path("runs") / file.study.name
    display = ProgressDisplay()
    tell = partial((errors if as_json else console).print, soft_wrap=True, markup=False)
    outcomes = run_study(
        file,
        folder,
        StudyOptions(
            text=named_files(text),
            data=named_folders(data),
            models=named_parents(backbone),
            run_options=RunOptions(max_steps=max_steps, bf16=bf16),
        ),
        Machine(
            hardware=hardware(),
            versions=versions(*_RECORDED),
        ),
        part=lambda runs: shard(runs, index, count),
        watcher=ignore_progress if as_json else display,
        tell=tell,
    )
    num_failed = 0
    with display:
        for outcome in outcomes:
            num_failed += outcome.state == "failed"
            tell(_line(outcome))
            for bar in display.tasks.values():  # the next run's stages have the same names
                display.bars.remove_task(bar)
            display.tasks.clear()
    if as_json:
        typer.echo((folder / JSON).read_text(encoding="utf-8"), nl=False)
    else:
        say(f"results: {folder / MARKDOWN}")
    if num_failed:
        raise typer.Exit(1)


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise RecipeError(f"--shard {text}: must be I/N, the I-th of N parts, for example 1/4")
    return int(index), int(count)


def _line(outcome: "Outcome") -> str:
    head = f"{outcome.index} of {outcome.count}: {outcome.run.key}"
    if outcome.record is None:
        return f"{head}: {'failed: ' + outcome.error if outcome.error else 'another process is at it'}"
    record = outcome.record
    values = ", ".join(f"{value:.4f}" for value in record.values)
    spent = (
        "was finished"
        if outcome.state == "found"
        else f"{record.results[0].steps} steps in {sum(each.seconds for each in record.results):.0f} s"
    )
    return f"{head}: {record.metric.replace('_', ' ')} {values}, {spent}"
