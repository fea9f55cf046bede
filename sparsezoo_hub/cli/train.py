"""``sparsezoo-hub train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsezoo_hub.cli.console import print_json, quiet_loading, say
from sparsezoo_hub.cli.named_options import named_files, named_folders, named_parents
from sparsezoo_hub.cli.options import Bf16, Json, MaxSteps, NamedDataFolders, NamedParents, NamedTextFiles

if TYPE_CHECKING:
    from sparsezoo_hub.training.stage_result import StageResult


def train(
    recipe: Annotated[
        str, typer.Argument(help="A YAML file, or a name of `sparsezoo-hub recipes list`; NAME:VARIANT.")
    ],
    *,
    text: NamedTextFiles = None,
    data: NamedDataFolders = None,
    backbone: NamedParents = None,
    max_steps: MaxSteps = None,
    bf16: Bf16 = False,
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
    with ProgressDisplay() as display:
        run = RecipeRun(
            loaded,
            folder,
            text=named_files(text),
            data=named_folders(data),
            parents=named_parents(backbone),
            options=RunOptions(max_steps=max_steps, checkpoint_every=checkpoint_every, bf16=bf16),
            watcher=display,
        )
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


def _scores(result: "StageResult") -> str:
    scores = result.metrics or {"accuracy": result.validation_accuracy}
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())
