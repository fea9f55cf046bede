"""``sparsezoo-hub train``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsezoo_hub.cli.console import console, errors, print_json, quiet_loading, say
from sparsezoo_hub.cli.named_options import named_files, named_folders, named_parents
from sparsezoo_hub.cli.options import (
    Bf16,
    Compile,
    Json,
    MaxSteps,
    NamedDataFolders,
    NamedParents,
    NamedTextFiles,
    PerDeviceBatch,
)
from sparsezoo_hub.training.stop_signals import interruptible

if TYPE_CHECKING:
    from sparsezoo_hub.training.stage_result import StageResult


@interruptible()
def train(  # noqa: PLR0913 - one option for each thing that can be chosen
    recipe: Annotated[
        str, typer.Argument(help="A YAML file, or a name of `sparsezoo-hub recipes list`; NAME:VARIANT.")
    ],
    *,
    text: NamedTextFiles = None,
    data: NamedDataFolders = None,
    backbone: NamedParents = None,
    max_steps: MaxSteps = None,
    bf16: Bf16 = False,
    compile: Compile = False,
    per_device_batch: PerDeviceBatch = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Read the text as it comes, not into memory.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that read streamed text for each device; 4 each on GPUs."),
    ] = None,
    token_cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep streamed text there, tokenized, for the next time."),
    ] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Show the run in tensorboard, trackio or wandb too, if installed; repeat for several.",
        ),
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Optimizer steps between checkpoints.")] = 500,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME without it.")] = None,
    as_json: Json = False,
) -> None:
    """Run a recipe's stages and package the result; a second start goes on from the last checkpoint.

    On several devices: accelerate launch -m sparsezoo_hub.train RECIPE
    """
    from accelerate import PartialState

    from sparsezoo_hub.cli.progress_display import ProgressDisplay
    from sparsezoo_hub.cli.recipe_package import package_run
    from sparsezoo_hub.training.recipe_library import load_recipe
    from sparsezoo_hub.training.run import RecipeRun
    from sparsezoo_hub.training.run_options import RunOptions

    quiet_loading()
    loaded = load_recipe(recipe)
    folder = out or Path("runs") / loaded.name
    shown = errors if as_json else console
    with ProgressDisplay(shown) as display:
        run = RecipeRun(
            loaded,
            folder,
            text=named_files(text),
            data=named_folders(data),
            parents=named_parents(backbone),
            options=RunOptions(
                max_steps=max_steps,
                checkpoint_every=checkpoint_every,
                bf16=bf16,
                compile=compile,
                report_to=tuple(report_to or ()),
                per_device_batch=per_device_batch,
                stream=stream,
                workers=workers,
                token_cache=token_cache,
            ),
            watcher=display,
            tell=partial(shown.print, soft_wrap=True, markup=False),
        )
        if PartialState().is_main_process:
            shown.print(_heading(loaded.name, folder, text, data), soft_wrap=True, markup=False)
        run.make_parents()
        results = {stage.name: run.run_stage(stage.name) for stage in run.recipe.stages}
    if not PartialState().is_main_process:
        return
    manifest = package_run(run, results, folder / "package")
    if as_json:
        print_json(
            {
                "package": str(folder / "package"),
                "results": {name: [each.model_dump() for each in group] for name, group in results.items()},
                "manifest": manifest.model_dump(mode="json"),
            }
        )
        return
    for name, group in results.items():
        for result in group:
            say(
                f"{name} seed {result.seed}: validation loss {result.validation_loss:.4f}, "
                f"{_scores(result)}, {result.steps} steps in {result.seconds:.0f} s"
            )
    pattern = "dense" if manifest.is_dense else f"sparsity {manifest.sparsity.overall:.4f}"
    say(f"package: {folder / 'package'}, {pattern}")
    say(f"publish: sparsezoo-hub push {folder / 'package'} OWNER/{loaded.name}")


def _heading(name: str, folder: Path, text: list[str] | None, data: list[str] | None) -> str:
    given = [*(f"text {each}" for each in text or ()), *(f"data {each}" for each in data or ())]
    return f"{name} in {folder}" + (f", {', '.join(given)}" if given else "")


def _scores(result: "StageResult") -> str:
    scores = result.metrics or {"accuracy": result.validation_accuracy}
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
